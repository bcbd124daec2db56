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
use super::pool::{ConnectError, Setup};

/// How often the two sessions are compared. A pooler may give each the same connection again by chance: with only two of
/// them, both kept busy by applications, in one round out of four.
const ROUNDS: usize = 6;

/// Asks which process of which server answers: two hosts may have processes of the same number.
const PROCESS: &str = "SELECT pg_backend_pid() || ' of ' || pg_postmaster_start_time()";

impl DatabaseConfig {
    /// Finds out whether a transaction pooler is in the way; sessions opened from here on mind it.
    ///
    /// That is some twenty-five questions, one after the other, to a server that may be on another continent; so there is
    /// no limit for all of them together, but each answer may take as long as connecting.
    ///
    /// # Errors
    /// Where the two sessions that it takes cannot be had, or do not answer.
    pub async fn look_for_pooler(&self) -> Result<bool, ConnectError> {
        let establish = || self.establish("bellwether check", Setup::Bare);
        let pair = async { tokio::try_join!(establish(), establish()) };
        let ((idle, first), (other, second)) = self.in_time(pair).await?;
        let is_pooled = tokio::select! {
            outcome = self.are_pooled(&idle, &other) => outcome?,
            Err(lost) = first => return Err(self.refused(lost)),
            Err(lost) = second => return Err(self.refused(lost)),
        };
        *self
            .is_pooled
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(is_pooled);
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

    /// Whether the two are served by one process, or one of them by several. Each question waits for the answer to the one
    /// before: sent at the same time, to save journeys, they would find a pooler too fast for it to mix anything up.
    async fn are_pooled(&self, idle: &Client, other: &Client) -> Result<bool, ConnectError> {
        let begin = format!("BEGIN; {PROCESS}");
        let ask = |client, question| self.in_time(process(client, question));
        let own = ask(idle, PROCESS).await?;
        let mut others = None;
        for _ in 0..ROUNDS {
            // An open transaction keeps its process, so that a pooler has to find another one for the idle session. With
            // one connection it has none, so this is asked first.
            let now = ask(other, &begin).await?;
            if now == own || *others.get_or_insert_with(|| now.clone()) != now {
                return Ok(true);
            }
            let during = ask(idle, PROCESS).await?;
            ask(other, "COMMIT").await?;
            if during != own || ask(idle, PROCESS).await? != own {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Which process answers, if that is the question.
async fn process(client: &Client, question: &str) -> Result<Option<String>, Error> {
    let answer = client.simple_query(question).await?;
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
