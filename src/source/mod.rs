//! From the event log to the hub.
//!
//! One task owns a session: a [`listener`] that hears the doorbell and a [`log`] reader that looks. A session is honest:
//! on any doubt it ends with an error, the hub is told that it is degraded, and after a jittered wait everything is
//! built anew from scratch. What survives is the hub's cursor: where it can be resumed the next session goes on from it,
//! otherwise ([`ground`]) a fresh state is installed and every subscription is reset to it.
//!
//! What keeps it true:
//! - the listener is there before the first look, so nothing falls between them;
//! - a batch is published only once the WAL that it was read from is flushed ([`flush`]);
//! - whoever rings, or nobody: a look comes at the latest with the safety tick;
//! - under load, or while any relay promises to look often, it does so by itself ([`alertness`]).

mod alertness;
mod flush;
mod ground;
mod listener;
mod load;
mod log;
mod operation;
mod page;
mod replay;
mod turns;

use std::collections::HashSet;
use std::convert::Infallible;
use std::error::Error;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_util::sync::CancellationToken;

use self::alertness::{Alertness, LEASE_MS, Next, Shown};
use self::ground::Ground;
use self::listener::Listener;
pub(crate) use self::listener::{CHANNEL, PROBE};
use self::log::{Look, Reader};
pub use self::replay::ReplayLog;
use crate::backoff::Backoff;
use crate::cursor::{Cursor, CursorError, Within};
use crate::event::EventError;
use crate::hub::mirror::MirrorLimits;
use crate::hub::{Completeness, Hub, Liveness, ResetReason};
use crate::postgres::config::DatabaseConfig;
use crate::postgres::pool::ConnectError;
use crate::postgres::reason::reason;

/// First wait after a lost session, and the bound that waits grow to.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const GREATEST_BACKOFF: Duration = Duration::from_secs(5);

/// How long the state may take to be loaded. A look has no such bound, since one statement may have changed millions of
/// rows, which are sorted before the first one comes: the listener's probe and the sockets' keepalive notice a database
/// that is gone, a lock timeout one that is locked, and meanwhile the status says that a large change is being read.
const LOAD_PATIENCE: Duration = Duration::from_secs(60);

/// When ringing for other relays is tried once more.
const RING_AGAIN: Duration = Duration::from_secs(1);

/// How the source looks.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// A look comes at least this often, bell or no bell.
    pub tick: Duration,
    /// How often the listening session rings for itself to prove that it still hears.
    pub probe: Duration,
    /// How long that may take to come back before the session is given up.
    pub silence: Duration,
    /// How long one answer of the database may take before the session is given up.
    pub patience: Duration,
    /// A look comes at least this often where the doorbell cannot be heard: behind a transaction pooler.
    pub poll: Duration,
    /// How much the mirror holds.
    pub mirror: MirrorLimits,
    /// How many events before the start are loaded, so that subscribers of an earlier relay can resume.
    pub recent_events: u32,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(2),
            probe: Duration::from_secs(3),
            silence: Duration::from_secs(5),
            patience: Duration::from_secs(5),
            poll: Duration::from_millis(200),
            mirror: MirrorLimits::default(),
            recent_events: 10_000,
        }
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("the database cannot be reached")]
    Connect(#[from] ConnectError),
    #[error("the database session failed")]
    Database(#[from] tokio_postgres::Error),
    #[error("the database did not answer within {} s", .0.as_secs_f32())]
    NoAnswer(Duration),
    #[error("the listening session was lost")]
    ListenerLost,
    #[error("the listening session is deaf: a doorbell that it rang itself did not come back")]
    Deaf,
    #[error("writers queue for the doorbell, and it could not be rung")]
    Unrung,
    #[error("the reading session was lost")]
    ReaderLost,
    #[error(
        "the database is a standby, where nobody can LISTEN; waiting until it is promoted (several hosts with target_session_attrs=read-write find the primary)"
    )]
    Standby,
    #[error("the event log was replaced by another one")]
    LogReplaced,
    #[error(
        "the sessions that listen and look found different databases: the connection string does not always lead to the same one"
    )]
    Divided,
    #[error("the event log cannot be read")]
    Event(#[from] EventError),
    #[error("the database's snapshot cannot be read")]
    Snapshot(#[from] CursorError),
    #[error("the row {entity} cannot be read")]
    Row {
        entity: String,
        source: serde_json::Error,
    },
    #[error("a row of the event log cannot be read")]
    Operation(#[from] operation::RowError),
    #[error("the event log is missing: run `bellwether migrate`")]
    NoLog,
}

/// Feeds the hub until the token is cancelled.
pub async fn run(
    config: DatabaseConfig,
    options: SourceOptions,
    hub: Hub,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(FIRST_BACKOFF, GREATEST_BACKOFF);
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = session(&config, &options, &hub, &mut backoff) => outcome,
        };
        let Err(error) = outcome;
        hub.set_status(Liveness::Degraded, Some(&reason(&error)));
        let delay = backoff.next_delay();
        tracing::warn!(error = &error as &dyn Error, retry_in = ?delay, "lost touch with the database");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
    }
}

/// One session, from connecting to the first doubt.
async fn session(
    config: &DatabaseConfig,
    options: &SourceOptions,
    hub: &Hub,
    backoff: &mut Backoff,
) -> Result<Infallible, SourceError> {
    if config.look_for_pooler().await? {
        tracing::warn!(
            every = ?options.poll,
            "a transaction pooler is in the way, and LISTEN cannot work through it: looking by the clock instead; \
             give the relay a connection of its own with --listen-url"
        );
    }
    // At the same time, since the database may be far away. Nothing is read before both are there.
    let hearing = async {
        let listener = Listener::connect(config, options).await?;
        let ground = patiently(options, Ground::establish(listener.client())).await?;
        Ok((listener, ground))
    };
    let reading = log::connect(config, options);
    // Where both have failed, the listener's error says better why.
    let (hearing, reader): (Result<_, SourceError>, _) = tokio::join!(hearing, reading);
    let ((listener, ground), reader) = (hearing?, reader?);
    // Each session has found a server for itself.
    match patiently(options, ground.holds(&reader.client)).await {
        Err(SourceError::LogReplaced | SourceError::Standby) => return Err(SourceError::Divided),
        holds => holds?,
    };
    let reader_process = patiently(options, process_of(&reader.client)).await?;
    let without_bell = (!listener.hears()).then(|| {
        format!(
            "looking every {} ms: a transaction pooler is in the way, where LISTEN cannot work; see --listen-url",
            options.poll.as_millis()
        )
    });
    let session = Session {
        listener: &listener,
        options,
        hub,
        reader,
        reader_process: reader_process.filter(|_| listener.hears()),
        ground,
    };
    let mut doubts = pin!(listener.watch(options, &session.ground));

    match hub.cursor() {
        Some(cursor) if cursor.epoch == session.ground.epoch => {
            hub.set_status(Liveness::CatchingUp, Some("reading what was missed"));
        }
        cursor => {
            let reason = if cursor.is_some() {
                ResetReason::CursorForeign
            } else {
                ResetReason::CursorExpired
            };
            tokio::select! {
                installed = session.install(reason) => installed?,
                doubt = &mut doubts => return Err(doubt),
            }
            hub.set_status(Liveness::CatchingUp, Some("reading what was missed"));
        }
    }

    let every = if listener.hears() {
        options.tick
    } else {
        options.tick.min(options.poll)
    };
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alertness = Alertness::new(Instant::now());
    let mut promise: Option<Promise<'_>> = None;
    let ring_owed = Notify::new();
    // The session before may have owed one that it did not come to give.
    ring_owed.notify_one();
    let mut paying = pin!(session.pay(&ring_owed));
    loop {
        let shown = {
            let mut looking = pin!(session.look());
            let mut long = pin!(sleep(options.patience));
            let mut is_long = false;
            loop {
                tokio::select! {
                    shown = &mut looking => break shown?,
                    owes = made(&mut promise) => if owes? { ring_owed.notify_one() },
                    never = &mut paying => match never {},
                    doubt = &mut doubts => return Err(doubt),
                    () = &mut long, if !is_long => {
                        is_long = true;
                        hub.set_status(Liveness::CatchingUp, Some("reading a large change"));
                    }
                }
            }
        };
        hub.set_status(Liveness::Live, without_bell.as_deref());
        if backoff.failures() > 0 {
            tracing::info!("in touch with the database again");
            backoff.reset();
        }
        let is_promising = promise.is_some();
        let deciding = async {
            let mut next = alertness.next(&shown);
            if !is_promising
                && alertness.suspects_a_queue(&shown)
                && session.writers_queue().await?
            {
                next = alertness.queue(&shown);
            }
            if matches!(next, Next::Fence) {
                alertness.fenced(session.fence().await?);
            }
            Ok(next)
        };
        let next: Result<Next, SourceError> = tokio::select! {
            next = deciding => next,
            doubt = &mut doubts => return Err(doubt),
        };
        let pause = match next? {
            Next::Listen => None,
            Next::Look(pause) => Some(pause),
            // Looking goes on meanwhile. The fence does wait for it, since the same session takes it.
            Next::Extend => {
                if promise.is_none() {
                    promise = Some(Box::pin(session.promise_to_look()));
                }
                Some(Duration::ZERO)
            }
            Next::Fence => Some(Duration::ZERO),
        };
        tokio::select! {
            () = listener.rung() => {}
            () = hub.look_requested() => {}
            _ = tick.tick() => {}
            () = sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            owes = made(&mut promise) => if owes? { ring_owed.notify_one() },
            never = &mut paying => match never {},
            doubt = &mut doubts => return Err(doubt),
        }
    }
}

/// A promise to look often that is being made; whether a ring is owed for it.
type Promise<'a> = Pin<Box<dyn Future<Output = Result<bool, SourceError>> + Send + 'a>>;

/// Resolves once the promise is made, if there is one.
async fn made(promise: &mut Option<Promise<'_>>) -> Result<bool, SourceError> {
    match promise {
        Some(making) => {
            let outcome = making.await;
            *promise = None;
            outcome
        }
        None => std::future::pending().await,
    }
}

/// What one session reads with.
struct Session<'a> {
    listener: &'a Listener,
    options: &'a SourceOptions,
    hub: &'a Hub,
    reader: Reader,
    /// The reader's server process; unknown behind a transaction pooler.
    reader_process: Option<i32>,
    ground: Ground,
}

impl Session<'_> {
    /// For small statements while the reader may be reading.
    fn aside(&self) -> &Client {
        self.listener.client()
    }

    /// Starts from the state as it is now.
    async fn install(&self, reason: ResetReason) -> Result<(), SourceError> {
        let loading = load::origin(&self.reader.client, self.ground.epoch, self.options);
        let loaded = timeout(LOAD_PATIENCE, loading).await;
        let (origin, insert_lsn) = loaded.map_err(|_| SourceError::NoAnswer(LOAD_PATIENCE))??;
        patiently(self.options, flush::reach(&self.reader.client, insert_lsn)).await?;
        self.hub.install(origin, reason);
        Ok(())
    }

    /// Reads everything that the hub lacks and publishes it, in bounded pieces.
    async fn look(&self) -> Result<Shown, SourceError> {
        let Some(from) = self.hub.cursor() else {
            return Err(SourceError::NoLog);
        };
        // An interval that was broken off is read to its end before the next one begins.
        if let Some(Within { to, last_id }) = from.within.clone() {
            let asking = log::interval(&self.reader.client, &from.seen, &to, last_id);
            let look = self.answered(asking).await?;
            self.publish(&from, look).await?;
        }
        let Some(from) = self.hub.cursor() else {
            return Err(SourceError::NoLog);
        };
        let look = self.answered(log::look(&self.reader, &from.seen)).await?;
        self.publish(&from, look).await
    }

    /// Publishes what a look found; starts anew where the log has been trimmed past the cursor.
    async fn publish(&self, from: &Cursor, mut look: Look<'_>) -> Result<Shown, SourceError> {
        let mut shown = Shown {
            at: look.began,
            transactions: 0,
            open: look.header.snapshot.in_progress().len(),
            lease: look.header.lease,
            xmin: look.header.snapshot.oldest_unseen(),
        };
        if from.oldest_unseen() <= look.header.trimmed_through {
            // What is left of its rows would stand in the way of every other answer.
            drop(look);
            self.install(ResetReason::LogTrimmed).await?;
            return Ok(shown);
        }
        let epoch = self.ground.epoch;
        let to = look.header.snapshot.clone();
        let mut transactions = HashSet::new();
        let mut is_durable = false;
        loop {
            let piece = patiently(self.options, look.next_piece()).await?;
            if !is_durable {
                if !look.is_flushed() {
                    // The session that looked is free where it has told everything, and no promise is made by it.
                    let client = if piece.is_last {
                        &self.reader.client
                    } else {
                        self.aside()
                    };
                    patiently(self.options, flush::reach(client, look.header.insert_lsn)).await?;
                }
                is_durable = true;
            }
            transactions.extend(piece.events.iter().map(|event| event.xid));
            if piece.is_last {
                let learnt = look.began;
                let as_of = look.header.as_of.take();
                let complete = as_of.map(|as_of| Completeness {
                    as_of: as_of.into(),
                    learnt,
                });
                self.hub
                    .publish(Cursor::at(epoch, to), piece.events, complete);
                shown.transactions = transactions.len();
                return Ok(shown);
            }
            let last_id = piece.events.last().map_or(0, |event| event.id);
            let within = Some(Within {
                to: to.clone(),
                last_id,
            });
            let cursor = Cursor {
                epoch,
                seen: from.seen.clone(),
                within,
            };
            self.hub.publish(cursor, piece.events, None);
            tokio::task::yield_now().await;
        }
    }

    /// Promises to look often, and returns whether other relays are owed a ring for it. A lost promise costs nothing, so
    /// nobody waits for its WAL; nor does one that cannot be made, in a database that takes no writes: writers go on ringing.
    ///
    /// All in one message, which is one transaction: others may ask something of the same session right behind it, and must
    /// not find a transaction that has failed.
    async fn promise_to_look(&self) -> Result<bool, SourceError> {
        let extend = format!(
            "SET LOCAL synchronous_commit = off; SELECT bellwether.promise_to_look({LEASE_MS})"
        );
        let promise = async {
            match self.aside().simple_query(&extend).await {
                Err(error) if !error.is_closed() => {
                    tracing::debug!(
                        error = &error as &dyn Error,
                        "no promise to look often could be made"
                    );
                    // Where somebody has cancelled it, the lease may have been set by then.
                    Ok(error.code() == Some(&SqlState::QUERY_CANCELED))
                }
                outcome => Ok(outcome?.iter().any(
                    |answer| matches!(answer, SimpleQueryMessage::Row(row) if row.get(0) == Some("t")),
                )),
            }
        };
        patiently(self.options, promise).await
    }

    /// Rings for the other relays whenever that is owed. A ring that is on its way when another is owed does not count for that.
    async fn pay(&self, owed: &Notify) -> Infallible {
        loop {
            owed.notified().await;
            while let Err(error) = self.listener.ring().await {
                tracing::warn!(
                    error = &error as &dyn Error,
                    retry_in = ?RING_AGAIN,
                    "other relays could not be rung for"
                );
                sleep(RING_AGAIN).await;
            }
        }
    }

    /// Waits for the first of what the reader asked for as long as the server is at work on it.
    async fn answered<T>(
        &self,
        asking: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let mut asking = pin!(asking);
        let mut idle = 0;
        loop {
            match timeout(self.options.patience, &mut asking).await {
                Ok(outcome) => return outcome,
                Err(_) if self.is_being_answered().await? => idle = 0,
                // Once may be the moment in which the answer was on its way.
                Err(_) if idle == 0 => idle = 1,
                Err(_) => return Err(SourceError::ReaderLost),
            }
        }
    }

    /// Whether the server is still at work on what the reader asked. One that is not, or that cannot get rid of its
    /// answer, has lost us: a link that swallows everything looks like a long wait.
    async fn is_being_answered(&self) -> Result<bool, SourceError> {
        const AT_WORK: &str = "SELECT FROM pg_stat_activity
            WHERE pid = $1 AND state = 'active' AND wait_event IS DISTINCT FROM 'ClientWrite'";
        let Some(process) = self.reader_process else {
            return Ok(true);
        };
        let asking = async {
            let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&process, Type::INT4)];
            Ok(self.aside().query_typed_opt(AT_WORK, &parameters).await?)
        };
        Ok(patiently(self.options, asking).await?.is_some())
    }

    /// Whether writers of this database wait for the lock of the whole cluster that each commit with a bell takes.
    async fn writers_queue(&self) -> Result<bool, SourceError> {
        const QUEUE: &str =
            "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
            WHERE l.locktype = 'object' AND l.database = 0 AND l.classid = 'pg_database'::regclass AND l.objid = 0 AND NOT l.granted
                AND a.datname = current_database() AND a.application_name <> 'bellwether ringer')";
        let asking = async { Ok(self.aside().query_typed_one(QUEUE, &[]).await?) };
        Ok(patiently(self.options, asking).await?.get(0))
    }

    /// A transaction id taken now: whoever has been silent under a lease has a lower one.
    async fn fence(&self) -> Result<u64, SourceError> {
        let take = async {
            Ok(self
                .aside()
                .query_typed_one("SELECT pg_current_xact_id()", &[])
                .await?)
        };
        Ok(patiently(self.options, take).await?.get::<_, log::Xid>(0).0)
    }
}

async fn process_of(client: &Client) -> Result<Option<i32>, SourceError> {
    let row = client
        .query_typed_one("SELECT pg_backend_pid()", &[])
        .await?;
    Ok(Some(row.get(0)))
}

/// Gives the database's answer a bound.
async fn patiently<T>(
    options: &SourceOptions,
    answer: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    match timeout(options.patience, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(SourceError::NoAnswer(options.patience)),
    }
}
