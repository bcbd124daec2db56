//! Whether a transaction pooler stands between us and the server.
//!
//! A pooler in transaction mode (PgBouncer, and others like it) gives a client a server connection for one transaction
//! at a time. Then nothing that belongs to a session works: `LISTEN` hears nothing, a `SET` stays on a connection that
//! somebody else gets next, a prepared statement is not there the next time. No pooler says that it is one, so it is
//! recognised by what it does: a session's server process is given to another session while the first one is idle, or a
//! session finds itself at another process from one transaction to the next. On a connection of one's own neither can
//! happen.

use std::sync::PoisonError;

use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::config::DatabaseConfig;
use super::pool::{ConnectError, PgConnection, Setup};

/// How often the two sessions are compared. A pooler may give each the same connection again by chance: with only two of
/// them, both kept busy by applications, in one round out of four.
const ROUNDS: usize = 6;

/// How many times as long as connecting it may take to compare two sessions: that is two dozen journeys to a server that
/// may be on another continent.
const COMPARING: u32 = 3;

/// Asks which process of which server answers: two hosts may have processes of the same number.
const PROCESS: &str = "SELECT pg_backend_pid() || ' of ' || pg_postmaster_start_time()";

impl DatabaseConfig {
    /// Finds out whether a transaction pooler is in the way; sessions opened from here on mind it.
    ///
    /// # Errors
    /// Where the two sessions that it takes cannot be had in the time that connecting may take, or be compared in three
    /// times as much.
    pub async fn look_for_pooler(&self) -> Result<bool, ConnectError> {
        let limit = self.time_to_connect();
        let pair = self.within(limit, self.pair()).await?;
        let is_pooled = self.within(limit * COMPARING, pair.compare()).await?;
        self.remember(is_pooled);
        Ok(is_pooled)
    }

    /// Whether a transaction pooler was found in the way.
    pub fn is_pooled(&self) -> bool {
        self.known() == Some(true)
    }

    /// Whether anybody has looked. Until then nothing may be set in a session: it could not be taken back.
    pub(super) fn has_looked(&self) -> bool {
        self.known().is_some()
    }

    fn known(&self) -> Option<bool> {
        *self
            .is_pooled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, is_pooled: bool) {
        let mut known = self
            .is_pooled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = Some(is_pooled);
    }

    /// As [`Self::look_for_pooler`], for a caller who bounds it.
    pub(super) async fn find_out(&self) -> Result<(), Error> {
        let is_pooled = self.pair().await?.compare().await?;
        self.remember(is_pooled);
        Ok(())
    }

    async fn pair(&self) -> Result<Pair, Error> {
        let establish = || self.establish("bellwether check", Setup::Bare);
        let (idle, other) = tokio::try_join!(establish(), establish())?;
        Ok(Pair { idle, other })
    }
}

/// Two sessions to compare.
struct Pair {
    idle: (Client, PgConnection),
    other: (Client, PgConnection),
}

impl Pair {
    async fn compare(self) -> Result<bool, Error> {
        let ((idle, first), (other, second)) = (self.idle, self.other);
        tokio::select! {
            outcome = are_pooled(&idle, &other) => outcome,
            Err(error) = first => Err(error),
            Err(error) = second => Err(error),
        }
    }
}

/// Whether the two are served by one process, or one of them by several. Each question waits for the answer to the one
/// before: sent at the same time, to save journeys, they would find a pooler too fast for it to mix anything up.
async fn are_pooled(idle: &Client, other: &Client) -> Result<bool, Error> {
    let begin = format!("BEGIN; {PROCESS}");
    let own = process(idle, PROCESS).await?;
    let mut others = None;
    for _ in 0..ROUNDS {
        // An open transaction keeps its process, so that a pooler has to find another one for the idle session. With one
        // connection it has none, so this is asked first.
        let now = process(other, &begin).await?;
        if now == own || *others.get_or_insert_with(|| now.clone()) != now {
            return Ok(true);
        }
        let during = process(idle, PROCESS).await?;
        other.batch_execute("COMMIT").await?;
        if during != own || process(idle, PROCESS).await? != own {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Which process answers.
async fn process(client: &Client, question: &str) -> Result<Option<String>, Error> {
    let answer = client.simple_query(question).await?;
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
