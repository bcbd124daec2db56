//! A session that comes back by itself.
//!
//! When it is lost, or the server says something that passes (it is starting, stopping, full, being failed over), the
//! same statement is tried again after a capped, jittered delay, for as long as it takes. A statement may therefore
//! run twice: the caller sees to it that this does no harm.
//!
//! No statement is prepared by name, nor returns a type that the driver would have to ask about: behind a transaction
//! pooler that stays on a connection that somebody else gets next, and the next statement does not find it.

use std::{
    error::Error,
    io,
    time::{Duration, Instant},
};

use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_postgres::{Client, Row, error::SqlState};
use tokio_util::sync::CancellationToken;

use super::{FIRST_RETRY_DELAY, LONGEST_RETRY_DELAY, Parameter, STATEMENT_LIMIT, WriterError};
use crate::{
    backoff::Backoff,
    postgres::{config::DatabaseConfig, pool::ConnectError},
};

/// How long the server is given to hear a goodbye.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);

/// Where to connect, and the session while there is one.
pub(super) struct Link {
    pub(super) database: DatabaseConfig,
    /// In `pg_stat_activity`.
    pub(super) name: String,
    /// Ends the waiting.
    pub(super) stop: CancellationToken,
    session: Option<Session>,
    /// Whether a session was ever had: from then on a refusal is something that passes.
    pub(super) has_connected: bool,
    /// Tries that did not get through, since somebody last asked.
    pub(super) failed_tries: u32,
}

struct Session {
    client: Client,
    /// Drives the socket; ends by itself when the client is dropped, after a goodbye to the server.
    driver: JoinHandle<()>,
}

/// Why one try did not do it.
enum Miss {
    /// Another try may.
    Passing(String),
    /// Another try will not.
    Final(WriterError),
}

impl Link {
    pub(super) fn new(database: DatabaseConfig, name: String, stop: CancellationToken) -> Self {
        Self {
            database,
            name,
            stop,
            session: None,
            has_connected: false,
            failed_tries: 0,
        }
    }

    /// Runs one statement, however many tries it takes to get it through.
    pub(super) async fn run(
        &mut self,
        action: &'static str,
        sql: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, WriterError> {
        let mut lost_at = None;
        let mut backoff = Backoff::new(FIRST_RETRY_DELAY, LONGEST_RETRY_DELAY);
        loop {
            let reason = match self.try_once(action, sql, parameters).await {
                Ok(rows) => {
                    self.say_that_it_is_back(lost_at);
                    return Ok(rows);
                }
                Err(Miss::Final(error)) => return Err(error),
                Err(Miss::Passing(reason)) => reason,
            };
            self.session = None;
            if lost_at.is_none() {
                lost_at = Some(Instant::now());
                tracing::warn!(
                    writer = self.name,
                    reason,
                    "no database; trying until it is there"
                );
            }
            self.failed_tries = self.failed_tries.saturating_add(1);
            tokio::select! {
                () = self.stop.cancelled() => return Err(WriterError::Stopped),
                () = sleep(backoff.next_delay()) => {}
            }
        }
    }

    /// Says goodbye to the server, where there is one to hear it.
    pub(super) async fn close(self) {
        if let Some(Session { client, driver, .. }) = self.session {
            drop(client);
            let _ = timeout(FAREWELL_LIMIT, driver).await;
        }
    }

    fn say_that_it_is_back(&self, lost_at: Option<Instant>) {
        if let Some(lost_at) = lost_at {
            let seconds = lost_at.elapsed().as_secs_f32();
            tracing::info!(
                writer = self.name,
                after_seconds = seconds,
                "the database is there"
            );
        }
    }

    async fn try_once(
        &mut self,
        action: &'static str,
        sql: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Miss> {
        if self
            .session
            .as_ref()
            .is_none_or(|session| session.client.is_closed())
        {
            self.session = Some(self.open_session().await?);
        }
        let session = self.session.as_ref().expect("a session was just opened");
        match timeout(STATEMENT_LIMIT, session.client.query_typed(sql, parameters)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) if passes(&error) => Err(Miss::Passing(reason_of(&error))),
            Ok(Err(source)) => Err(Miss::Final(refusal(action, source))),
            Err(_) => Err(Miss::Passing("no answer in time".to_owned())),
        }
    }

    async fn open_session(&mut self) -> Result<Session, Miss> {
        let connected = tokio::select! {
            () = self.stop.cancelled() => return Err(Miss::Final(WriterError::Stopped)),
            connected = self.database.connect(&self.name) => connected,
        };
        let (client, connection) = connected.map_err(|error| match error {
            ConnectError::Refused { source, .. } if self.has_connected || passes(&source) => {
                Miss::Passing(reason_of(&source))
            }
            ConnectError::TimedOut { .. } => Miss::Passing(error.to_string()),
            refused => Miss::Final(WriterError::Connect(refused)),
        })?;
        self.has_connected = true;
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer meets the same error and says what it means.
            let _ = connection.await;
        });
        Ok(Session { client, driver })
    }
}

fn refusal(action: &'static str, source: tokio_postgres::Error) -> WriterError {
    const UNKNOWN_NAMES: [SqlState; 3] = [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::UNDEFINED_COLUMN,
    ];
    if source
        .code()
        .is_some_and(|code| UNKNOWN_NAMES.contains(code))
    {
        WriterError::NotMigrated { action, source }
    } else {
        WriterError::Refused { action, source }
    }
}

/// Whether a later try may get through: the link broke, or the server's state is one that changes by itself.
fn passes(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => code_passes(code),
        None => error.is_closed() || is_caused_by_io(error),
    }
}

fn code_passes(code: &SqlState) -> bool {
    const CLASSES: [&str; 4] = [
        "08", // the connection
        "40", // deadlock, serialization
        "53", // out of connections, memory or disk
        "57", // starting, stopping, or ended by an administrator
    ];
    CLASSES.iter().any(|class| code.code().starts_with(class))
        || [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ]
        .contains(code)
}

fn is_caused_by_io(error: &(dyn Error + 'static)) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The driver's words and the server's, which the driver keeps in the source.
fn reason_of(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_stops_passes_and_a_missing_table_does_not() {
        for code in [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ] {
            assert!(code_passes(&code), "{code:?}");
        }
        for code in [
            SqlState::UNDEFINED_TABLE,
            SqlState::INVALID_PASSWORD,
            SqlState::CHECK_VIOLATION,
        ] {
            assert!(!code_passes(&code), "{code:?}");
        }
    }
}
