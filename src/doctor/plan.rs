//! Which questions are asked, in which order, and which are pointless after an answer.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::checks::{
    clock, connections, doorbell, durability, functions, lease, log_size, migrations, mode,
    pooling, prepared, primary, queue, relay, relay_write, relays, retention, rights,
    session_settings, tables, transactions, triggers, vacuum, version, writer_rights,
};
use super::expected::Expected;
use super::report::{Finding, Report};
use super::session::{CheckError, Session};
use super::{DoctorOptions, report};

/// How much longer than the server a check is given: the server's own limit says more than ours.
const GRACE: Duration = Duration::from_secs(1);

/// Examines everything. A database that cannot be reached is a report, too.
pub async fn examine(options: &DoctorOptions) -> Report {
    let address = options.relay.as_ref().map(ToString::to_string);
    let report = Report::new(options.database.to_string(), address);
    let began = Instant::now();
    match Session::open(&options.database, options.limit).await {
        Ok(session) => {
            let found = format!(
                "connected in {:.1} ms",
                began.elapsed().as_secs_f64() * 1000.0
            );
            let mut examination = Examination {
                session: &session,
                options,
                report,
            };
            examination
                .report
                .record("connection", Finding::ok(found), began.elapsed());
            examination.all().await;
            examination.report
        }
        Err(error) => unreachable(options, report, CheckError::from(error), began.elapsed()).await,
    }
}

/// Without a session only the relay can be asked.
async fn unreachable(
    options: &DoctorOptions,
    mut report: Report,
    error: CheckError,
    took: Duration,
) -> Report {
    let finding = Finding::failure(
        error.chain(),
        "see that the server runs and listens there, that the password is right, and that pg_hba.conf lets this machine in",
    );
    report.record("connection", finding, took);
    if let Some(url) = &options.relay {
        let began = Instant::now();
        let finding = bounded(options.limit, relay::check(url, options.limit)).await;
        report.record("relay", finding.unwrap_or_else(could_not), began.elapsed());
    }
    report.connected = false;
    report
}

/// Why a check has no finding.
pub(super) enum Unasked {
    Error(CheckError),
    TooSlow(Duration),
}

async fn bounded<T>(
    limit: Duration,
    check: impl Future<Output = Result<T, CheckError>>,
) -> Result<T, Unasked> {
    match timeout(limit + GRACE, check).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(Unasked::Error(error)),
        Err(_) => Err(Unasked::TooSlow(limit + GRACE)),
    }
}

/// What to say then.
pub(super) fn could_not(why: Unasked) -> Finding {
    let why = match why {
        Unasked::Error(error) => error.chain(),
        Unasked::TooSlow(limit) => format!("no answer within {} s", limit.as_secs_f32()),
    };
    Finding::failure(
        format!("could not be checked: {why}"),
        "mend that and ask again; --timeout gives a slow database longer",
    )
}

struct Examination<'a> {
    session: &'a Session,
    options: &'a DoctorOptions,
    report: Report,
}

impl Examination<'_> {
    async fn all(&mut self) {
        let (session, options, limit) = (self.session, self.options, self.options.limit);
        let pooled = self
            .learn("pooling", pooling::check(session.config()))
            .await;
        if pooled == Some(false) {
            session.set_up().await;
        }
        self.ask("server_version", version::check(session)).await;
        let standby = self.learn("primary", primary::check(session)).await;
        let standby = standby.unwrap_or(false);
        self.ask("durability", durability::check(session)).await;
        self.ask("session_settings", session_settings::check(session))
            .await;
        self.ask("clock", clock::check(session)).await;
        self.ask(
            "connections",
            connections::check(session, options.pool_size),
        )
        .await;

        if standby {
            self.skip("doorbell", "nobody can listen on a standby");
        } else if pooled == Some(true) {
            self.skip("doorbell", "nobody can listen through the proxy");
        } else if pooled.is_none() {
            self.skip("doorbell", "what listens may stay in a proxy's pool");
        } else {
            self.ask("doorbell", doorbell::check(session, limit)).await;
        }
        self.ask("doorbell_mode", mode::check(session)).await;
        self.ask("notify_queue", queue::check(session)).await;
        self.ask(
            "writing_transactions",
            transactions::check(session, options.long_transaction),
        )
        .await;
        self.ask(
            "prepared_transactions",
            prepared::check(session, options.long_transaction),
        )
        .await;
        self.ask("vacuum", vacuum::check(session)).await;

        let there = self.learn("migrations", migrations::check(session)).await;
        self.schema(there.unwrap_or(false), standby).await;
        self.relay(there.unwrap_or(false) && pooled == Some(false))
            .await;
    }

    /// What can be asked only where the schema is.
    async fn schema(&mut self, there: bool, standby: bool) {
        let (session, options) = (self.session, self.options);
        if !there {
            for id in [
                "tables",
                "functions",
                "triggers",
                "rights",
                "lease",
                "log_size",
                "retention",
                "relays",
            ] {
                self.skip(id, "there is no schema");
            }
            return;
        }
        let expected = Expected::read();
        self.ask("tables", tables::check(session, &expected)).await;
        self.ask("functions", functions::check(session, &expected))
            .await;
        self.ask("triggers", triggers::check(session, &expected))
            .await;
        self.ask("rights", rights::check(session)).await;
        if let Some(role) = &options.writer {
            self.ask("writer_rights", writer_rights::check(session, role))
                .await;
        }
        if standby {
            self.skip("lease", "only the primary's counts");
        } else {
            self.ask("lease", lease::check(session)).await;
        }
        self.ask(
            "log_size",
            log_size::check(session, options.keep_events_bytes),
        )
        .await;
        self.ask("retention", retention::check(session, options.keep_events))
            .await;
        self.ask("relays", relays::check(session, options.relay_dead_after))
            .await;
    }

    /// What is asked of the relay, where it was named.
    async fn relay(&mut self, writable: bool) {
        let (session, options, limit) = (self.session, self.options, self.options.limit);
        let Some(url) = &options.relay else {
            return;
        };
        self.ask("relay", relay::check(url, limit)).await;
        if !options.write {
            return;
        }
        if writable {
            self.ask("relay_write", relay_write::check(session, url, limit))
                .await;
        } else {
            self.skip(
                "relay_write",
                "nothing can be written: see migrations and pooling",
            );
        }
    }

    /// One check, within its bound.
    async fn ask(
        &mut self,
        id: &'static str,
        check: impl Future<Output = Result<Finding, CheckError>>,
    ) {
        let answer = async { Ok((check.await?, ())) };
        self.learn(id, answer).await;
    }

    /// One check, and what others want to know of it.
    async fn learn<T>(
        &mut self,
        id: &'static str,
        check: impl Future<Output = Result<(Finding, T), CheckError>>,
    ) -> Option<T> {
        self.session.ensure().await;
        let began = Instant::now();
        let outcome = bounded(self.options.limit, check).await;
        if matches!(outcome, Err(Unasked::TooSlow(_))) {
            // It may still be waiting for its answer.
            self.session.renew().await;
        }
        let (finding, learnt) = match outcome {
            Ok((finding, learnt)) => (finding, Some(learnt)),
            Err(why) => (could_not(why), None),
        };
        self.report.record(id, finding, began.elapsed());
        learnt
    }

    fn skip(&mut self, id: &'static str, why: &str) {
        let finding = report::Finding::skipped(why);
        self.report.record(id, finding, Duration::ZERO);
    }
}
