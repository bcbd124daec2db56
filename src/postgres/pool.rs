//! One connection, or a pool of them, each set up the same way.
//!
//! What the relay reads must not depend on how a role, a database or a connection string has been set up, so every
//! session says for itself what matters. It does so by `SET` after connecting rather than in the startup packet, which
//! connection poolers refuse; and where a pooler hands out server connections by the transaction ([`super::pooler`]),
//! each transaction says it.

use std::{fmt::Write, future::Future, pin::Pin, time::Duration};

use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rand::seq::SliceRandom;
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{Client, Config, Connection, Socket, tls::MakeTlsConnect};

use super::{config::DatabaseConfig, tls::TlsConnector};

/// The name under which the relay's pooled sessions stand in `pg_stat_activity`.
pub const APPLICATION_NAME: &str = "bellwether";
/// How long to wait for a session of the pool to come free.
pub const POOL_WAIT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a pooled session may take to prove that it is alive; after that it is replaced by a new one.
pub const POOL_RECYCLE_TIMEOUT: Duration = Duration::from_secs(3);

/// What every session, or behind a transaction pooler every transaction, is set to. `jit`: compiling takes longer than
/// any statement of the relay. `idle_session_timeout`: a session that listens is idle by nature.
const SETTINGS: [(&str, &str); 9] = [
    ("search_path", "''"),
    ("TimeZone", "'UTC'"),
    ("IntervalStyle", "'iso_8601'"),
    ("DateStyle", "'ISO'"),
    ("extra_float_digits", "1"),
    ("default_transaction_isolation", "'read committed'"),
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
    ("idle_session_timeout", "0"),
];

/// The settings of a transaction, for one whose session may not be ours alone (see [`super::pooler`]).
pub(crate) fn transaction_settings() -> String {
    set("SET LOCAL")
}

fn set(command: &str) -> String {
    let mut statements = String::new();
    for (name, value) in SETTINGS {
        write!(statements, "{command} {name} = {value}; ")
            .expect("a String takes all that is written to it");
    }
    statements
}

/// Whether a new session is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// With the relay's settings, unless a pooler is in the way: there they would outlive us on a server connection
    /// that somebody else gets next. Whoever opens the first session of a configuration looks for one.
    Ours,
    /// Not at all.
    Bare,
}

/// The half of a session that owns the socket. Nothing moves unless it is polled; notifications come out of
/// `poll_message`.
pub type PgConnection = Connection<Socket, <TlsConnector as MakeTlsConnect<Socket>>::Stream>;

/// Why no session could be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The last host that was tried refused.
    #[error("cannot connect to {target}")]
    Refused {
        /// Where to, without the password.
        target: String,
        /// The driver's or the server's reason.
        #[source]
        source: tokio_postgres::Error,
    },
    /// No host answered in time.
    #[error("cannot connect to {target}: no answer within {} s", limit.as_secs_f32())]
    TimedOut {
        /// Where to, without the password.
        target: String,
        /// How long all hosts together were given.
        limit: Duration,
    },
}

impl DatabaseConfig {
    /// Opens a session of its own, outside any pool, and sets it up.
    ///
    /// The hosts are tried in turn; one that hangs is given up after `connect_timeout`.
    ///
    /// # Errors
    /// What the last host said, or that there was no answer in time.
    pub async fn connect(
        &self,
        application_name: &str,
    ) -> Result<(Client, PgConnection), ConnectError> {
        if !self.has_looked() {
            self.look_for_pooler().await?;
        }
        self.connect_with(application_name, Setup::Ours).await
    }

    /// Opens a session and sets nothing in it. Behind a proxy that pools by transaction, whatever a session sets stays
    /// with the server's process, for whoever comes next.
    ///
    /// # Errors
    /// As of [`Self::connect`].
    pub(crate) async fn connect_bare(
        &self,
        application_name: &str,
    ) -> Result<(Client, PgConnection), ConnectError> {
        self.connect_with(application_name, Setup::Bare).await
    }

    async fn connect_with(
        &self,
        application_name: &str,
        setup: Setup,
    ) -> Result<(Client, PgConnection), ConnectError> {
        let connecting = self.establish(application_name, setup);
        self.in_time(connecting).await
    }

    /// Gives what a session needs the time that connecting may take. The error names where it was to lead.
    pub(super) async fn in_time<T>(
        &self,
        connecting: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, ConnectError> {
        let limit = self.time_to_connect();
        match timeout(limit, connecting).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(source)) => Err(self.refused(source)),
            Err(_) => Err(ConnectError::TimedOut {
                target: self.to_string(),
                limit,
            }),
        }
    }

    pub(super) fn refused(&self, source: tokio_postgres::Error) -> ConnectError {
        ConnectError::Refused {
            target: self.to_string(),
            source,
        }
    }

    /// Makes a pool of at most `size` sessions (at least one). It connects when first asked for a session.
    ///
    /// Before a session is handed out again it must answer an empty statement within [`POOL_RECYCLE_TIMEOUT`], so one
    /// that died or hangs is replaced. Asking takes no longer than [`POOL_WAIT_TIMEOUT`] and twice the time to connect.
    pub fn pool(&self, size: usize) -> Pool {
        let manager = Manager::from_connect(
            Config::new(),
            PoolConnect(self.clone()),
            ManagerConfig {
                recycling_method: RecyclingMethod::Verified,
            },
        );
        Pool::builder(manager)
            .max_size(size.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(POOL_WAIT_TIMEOUT))
            // The first one looks for a pooler before.
            .create_timeout(Some(self.time_to_connect() * 2))
            .recycle_timeout(Some(POOL_RECYCLE_TIMEOUT))
            .build()
            .expect("a pool with a runtime can keep its timeouts")
    }

    /// What all hosts together may take.
    fn time_to_connect(&self) -> Duration {
        self.connect_timeout * u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)
    }

    /// Tries the hosts in turn. The last one is not timed here: the caller's limit ends it.
    pub(super) async fn establish(
        &self,
        application_name: &str,
        setup: Setup,
    ) -> Result<(Client, PgConnection), tokio_postgres::Error> {
        let mut hosts: Vec<&Config> = self.hosts.iter().collect();
        if self.random_order {
            hosts.shuffle(&mut rand::rng());
        }
        let (last, others) = hosts.split_last().expect("a config has at least one host");
        for host in others {
            let attempt = self.establish_with(host, application_name, setup);
            if let Ok(Ok(session)) = timeout(self.connect_timeout, attempt).await {
                return Ok(session);
            }
        }
        self.establish_with(last, application_name, setup).await
    }

    async fn establish_with(
        &self,
        host: &Config,
        application_name: &str,
        setup: Setup,
    ) -> Result<(Client, PgConnection), tokio_postgres::Error> {
        let mut host = host.clone();
        host.application_name(application_name);
        let (client, mut connection) = host.connect(self.tls.clone()).await?;
        if setup == Setup::Ours && !self.is_pooled() {
            run_on(&client, &mut connection, &self.session_settings()).await?;
        }
        Ok((client, connection))
    }

    fn session_settings(&self) -> String {
        let mut statements = set("SET");
        if let Some(limit) = self.statement_timeout {
            write!(
                statements,
                " SET statement_timeout = {};",
                limit.as_millis().max(1)
            )
            .expect("a String takes all that is written to it");
        }
        statements
    }
}

/// Runs statements on a connection that nobody else drives yet.
async fn run_on(
    client: &Client,
    connection: &mut PgConnection,
    statements: &str,
) -> Result<(), tokio_postgres::Error> {
    let mut done = std::pin::pin!(client.batch_execute(statements));
    tokio::select! {
        biased;
        result = &mut done => return result,
        ended = connection => ended?,
    }
    done.await
}

/// Lets a pool open its sessions as [`DatabaseConfig::connect`] does.
struct PoolConnect(DatabaseConfig);

type Connected = Result<(Client, JoinHandle<()>), tokio_postgres::Error>;

impl Connect for PoolConnect {
    fn connect(&self, _: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        Box::pin(async {
            while !self.0.has_looked() {
                match self.0.look_for_pooler().await {
                    Err(ConnectError::Refused { source, .. }) => return Err(source),
                    // Until the pool's own limit ends it.
                    Ok(_) | Err(ConnectError::TimedOut { .. }) => {}
                }
            }
            let (client, connection) = self.0.establish(APPLICATION_NAME, Setup::Ours).await?;
            let driver = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    // Whoever uses the session meets the error too and says what it means.
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "pooled session lost"
                    );
                }
            });
            Ok((client, driver))
        })
    }
}
