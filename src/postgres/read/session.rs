//! A session of the pool for one read, with a bound on everything that could take long.

use std::time::Duration;

use deadpool_postgres::{Object, Pool, Transaction};
use tokio::time::timeout;
use tokio_postgres::{Error, IsolationLevel};

use super::ReadError;
use crate::postgres::pool::transaction_settings;

/// How long a statement may take, except one of an export.
pub(super) const STATEMENT_LIMIT: Duration = Duration::from_secs(10);
/// How long one piece of an export may take.
const PIECE_LIMIT: Duration = Duration::from_secs(5 * 60);
/// How long an export's transaction may wait for its reader; the server then ends the session.
const STALL_LIMIT: Duration = Duration::from_secs(120);
/// How much longer than the server's own limit an answer is waited for: then there is no server.
const GRACE: Duration = Duration::from_secs(2);
/// How long a session of the pool is waited for, the time to connect included.
const POOL_LIMIT: Duration = Duration::from_secs(5);
/// How long beginning a transaction may take.
const BEGIN_LIMIT: Duration = Duration::from_secs(5);

/// For who reads the event log: the few events must be found by an index whatever the planner knows of a log that grows all
/// the time. The lock comes before the snapshot: one that is older than a truncation would find a slot empty, and the log
/// not trimmed.
pub(crate) const FIND_EVENTS_BY_INDEX: &str =
    "SET LOCAL enable_seqscan = off; LOCK TABLE bellwether.event IN ACCESS SHARE MODE";

/// What a transaction is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Settings {
    /// One answer.
    Read,
    /// A list of any length, through a portal.
    Export,
}

impl Settings {
    fn statement_limit(self) -> Duration {
        match self {
            Self::Read => STATEMENT_LIMIT,
            Self::Export => PIECE_LIMIT,
        }
    }

    fn sql(self) -> String {
        format!(
            "{}SET LOCAL statement_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}",
            transaction_settings(),
            self.statement_limit().as_millis(),
            STALL_LIMIT.as_millis()
        )
    }
}

/// Takes a session from the pool.
pub(super) async fn open(pool: &Pool) -> Result<Object, ReadError> {
    match timeout(POOL_LIMIT, pool.get()).await {
        Ok(session) => Ok(session?),
        Err(_) => Err(ReadError::Away(None)),
    }
}

/// Begins a transaction that reads one state of the database. It is rolled back when it is dropped, also half-way
/// through an answer, and the settings go with it.
pub(super) async fn begin(
    session: &mut Object,
    settings: Settings,
) -> Result<Transaction<'_>, ReadError> {
    let beginning = async {
        let transaction = session
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        transaction.batch_execute(&settings.sql()).await?;
        Ok(transaction)
    };
    match timeout(BEGIN_LIMIT, beginning).await {
        Ok(begun) => begun,
        Err(_) => Err(ReadError::Away(None)),
    }
}

/// Does something with the database, but not for longer than it may take.
pub(super) async fn bounded<T>(
    settings: Settings,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, ReadError> {
    let limit = settings.statement_limit();
    match timeout(limit + GRACE, work).await {
        Ok(outcome) => outcome.map_err(|error| ReadError::of(error, limit)),
        Err(_) => Err(ReadError::Away(None)),
    }
}

/// Reads something in a transaction of its own.
pub(crate) async fn read<T>(
    pool: &Pool,
    work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let mut session = open(pool).await?;
    let transaction = begin(&mut session, Settings::Read).await?;
    let outcome = match timeout(STATEMENT_LIMIT + GRACE, work(&transaction)).await {
        Ok(outcome) => outcome?,
        Err(_) => return Err(ReadError::Away(None)),
    };
    // Not a commit to be waited for: nothing was written, and the drop ends it.
    drop(transaction);
    Ok(outcome)
}
