//! The wiring: which parts a relay has, in which order they start, and in which order they stop.
//!
//! Stopping goes the other way round: first the sockets are told, then the jobs write down that everyone is gone, then
//! the reading ends, then the database, if it is ours. Each has a share of one deadline; what is left is named.

mod database;
mod demo;
mod descriptors;
mod losses;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub use self::database::Database;
pub use self::demo::demo;
use crate::backoff::Backoff;
use crate::cli::RelayArgs;
use crate::demo::DemoError;
use crate::http::{self, HttpContext};
use crate::hub::presence::Presence;
use crate::hub::{Hub, Liveness};
use crate::postgres::config::DatabaseConfig;
use crate::postgres::embedded::EmbeddedError;
use crate::postgres::migrate::{MigrateError, check, migrate};
use crate::postgres::reason::{described, reason};
use crate::scheduler;
use crate::source::{self, ReplayLog};

/// Connections that may wait to be accepted: a storm of reconnecting subscribers fits.
const BACKLOG: u32 = 4_096;
/// How long a client's machine may take nothing before its connection is given up.
const PEER_PATIENCE: Duration = Duration::from_secs(60);
/// First wait after the database could not be reached at the start, and the bound that waits grow to.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const GREATEST_BACKOFF: Duration = Duration::from_secs(5);

/// Why the relay could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}; choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The embedded server did not start.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The schema is not this version's and cannot be made so.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The two URLs do not lead to the same place.
    #[error("--listen-url leads to another database than --database-url")]
    ListensElsewhere,
    /// The part that reads the event log has broken off.
    #[error("the event log is not read any more; see the log")]
    SourceEnded,
    /// The demo's jobs cannot go on.
    #[error(transparent)]
    Demo(#[from] DemoError),
}

/// Opens the socket that the relay serves on.
///
/// # Errors
/// Where the address is taken or not ours.
pub fn bind(address: SocketAddr) -> Result<TcpListener, AppError> {
    let listen = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        // Inherited by the accepted sockets: an event must not wait for the acknowledgement of the one before.
        socket.set_nodelay(true)?;
        // And a peer that takes nothing for so long is gone, whatever it acknowledges.
        SockRef::from(&socket).set_tcp_user_timeout(Some(PEER_PATIENCE))?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| AppError::Listen { address, source })
}

/// Runs a relay and, where it is ours, its database, until the token is cancelled.
///
/// # Errors
/// As of [`serve`].
pub async fn run(
    database: Database,
    listener: TcpListener,
    args: &RelayArgs,
    stop: CancellationToken,
) -> Result<(), AppError> {
    let served = CancellationToken::new();
    let config = database.config.clone();
    let relay = async {
        let outcome = serve(config, listener, args, stop).await;
        served.cancel();
        outcome
    };
    let (outcome, ()) = tokio::join!(relay, database.keep(served.clone()));
    outcome
}

/// Runs a relay until the token is cancelled.
///
/// # Errors
/// Where the database's schema is not this version's and cannot be made so. A database that cannot be reached is no
/// error: the relay says that it is degraded and goes on trying.
pub async fn serve(
    config: DatabaseConfig,
    listener: TcpListener,
    args: &RelayArgs,
    stop: CancellationToken,
) -> Result<(), AppError> {
    descriptors::raise_limit(args.max_subscribers);
    let hub = Hub::new(args.hub());
    let pool = config.pool(args.pool_size.into());
    let presence = Presence::default();
    let stages = Stages::default();
    let context = HttpContext {
        hub: hub.clone(),
        log: Arc::new(ReplayLog::new(pool.clone())),
        presence: presence.clone(),
        pool: pool.clone(),
        origins: args.allow_origin.iter().cloned().collect(),
        heartbeat: args.heartbeat,
        max_subscribers: args.max_subscribers,
        tasks: stages.sockets.tasks.clone(),
        stop: stages.sockets.stop.clone(),
    };
    stages.sockets.tasks.spawn(http::run(listener, context));

    let mut outcome = tokio::select! {
        () = stop.cancelled() => Ok(()),
        outcome = prepare(&config, args, &hub) => outcome,
    };
    if outcome.is_ok() && !stop.is_cancelled() {
        let jobs = &stages.jobs;
        scheduler::start(
            &pool,
            &args.scheduler(),
            presence,
            &hub,
            Uuid::new_v4(),
            &jobs.tasks,
            &jobs.stop,
        );
        let reading = &stages.reading;
        reading
            .tasks
            .spawn(losses::report(hub.clone(), reading.stop.clone()));
        let direct = args.listen_url.clone().unwrap_or(config);
        let source = source::run(direct, args.source(), hub, reading.stop.clone());
        let source = reading.tasks.spawn(source);
        tokio::select! {
            () = stop.cancelled() => {}
            // It ends by a panic only; without it every screen would be a lie.
            _ = source => outcome = Err(AppError::SourceEnded),
        }
    }
    stages.end(args.stop_within).await;
    pool.close();
    outcome
}

/// Brings the schema to this version, or sees that it is. Waits for a database that cannot be reached, or takes no
/// writes yet.
async fn prepare(config: &DatabaseConfig, args: &RelayArgs, hub: &Hub) -> Result<(), AppError> {
    let mut backoff = Backoff::new(FIRST_BACKOFF, GREATEST_BACKOFF);
    loop {
        match try_to_prepare(config, args).await {
            Ok(report) => {
                tracing::info!("{report}");
                return Ok(());
            }
            Err(AppError::Migrate(error)) if error.may_pass() => {
                let delay = backoff.next_delay();
                hub.set_status(Liveness::Degraded, Some(&shown(&error)));
                tracing::warn!(error = &error as &dyn std::error::Error, retry_in = ?delay, "waiting for the database");
                tokio::time::sleep(delay).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// What subscribers are told: not where the database is.
fn shown(error: &MigrateError) -> String {
    match error {
        MigrateError::Connect(_) => described("the database cannot be reached", error),
        _ => reason(error),
    }
}

async fn try_to_prepare(config: &DatabaseConfig, args: &RelayArgs) -> Result<String, AppError> {
    let direct = args.listen_url.as_ref().unwrap_or(config);
    let report = if args.no_migrate {
        is_migrated(direct).await?
    } else {
        migrate(direct).await?.to_string()
    };
    if args.listen_url.is_some() {
        if log_of(config).await? != log_of(direct).await? {
            return Err(AppError::ListensElsewhere);
        }
        // Here it may take its time, which a session of the pool may not.
        config.look_for_pooler().await.map_err(MigrateError::from)?;
    }
    Ok(report)
}

/// Which event log there is behind a URL.
async fn log_of(config: &DatabaseConfig) -> Result<Option<String>, MigrateError> {
    let (client, connection) = config.connect_bare("bellwether check").await?;
    let driver = tokio::spawn(connection);
    let id = "SELECT pg_catalog.current_database() || ' ' || id FROM bellwether.log";
    let found = client.query_typed_opt(id, &[]).await;
    drop(client);
    // The connection's own error has reached the statement that it interrupted.
    let _ = driver.await;
    let found = found.map_err(|source| MigrateError::Failed {
        step: "reading which log it is".to_owned(),
        line: None,
        source,
    })?;
    Ok(found.map(|row| row.get(0)))
}

async fn is_migrated(config: &DatabaseConfig) -> Result<String, MigrateError> {
    let (client, connection) = config.connect_bare("bellwether check").await?;
    let driver = tokio::spawn(connection);
    let checked = check(&client).await;
    drop(client);
    // The connection's own error has reached the statement that it interrupted.
    let _ = driver.await;
    checked?;
    Ok("the schema is this version's".to_owned())
}

/// What is stopped, in this order.
#[derive(Default)]
struct Stages {
    sockets: Stage,
    jobs: Stage,
    reading: Stage,
}

/// Tasks that end together.
#[derive(Default)]
struct Stage {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Stages {
    /// Ends one after the other. Each has its share of the time, so that sockets that do not end cannot keep it from
    /// being written down that they are gone.
    async fn end(self, within: Duration) {
        let stages = [
            ("sockets", self.sockets, 5),
            ("jobs", self.jobs, 4),
            ("reading", self.reading, 1),
        ];
        for (name, stage, tenths) in stages {
            stage.stop.cancel();
            stage.tasks.close();
            if timeout(within * tenths / 10, stage.tasks.wait())
                .await
                .is_err()
            {
                tracing::warn!(
                    stage = name,
                    abandoned = stage.tasks.len(),
                    "not everything ended in time"
                );
            }
        }
        tracing::info!("stopped");
    }
}
