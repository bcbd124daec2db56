//! Why something could not be read.

use std::time::Duration;

use deadpool_postgres::PoolError;
use tokio_postgres::error::{Error, SqlState};

use crate::event::EventError;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// No session to be had: the database is away, or all sessions are busy.
    #[error("no database session to be had")]
    NoSession(#[source] Box<PoolError>),
    /// The database went away, refuses sessions, or does not answer.
    #[error("the database is away")]
    Away(#[source] Option<Error>),
    /// The database stopped the statement after its time was up.
    #[error("the statement took longer than {} s", .0.as_secs())]
    TooSlow(Duration),
    /// The database refused a statement that should work, or answered with something else than a row.
    #[error("the database refused")]
    Refused(#[source] Error),
    /// The event log holds something that this version does not understand.
    #[error("the event log holds something strange")]
    Strange(#[from] EventError),
}

impl ReadError {
    /// What a failed statement means; `limit` is the time it had.
    pub(super) fn of(error: Error, limit: Duration) -> Self {
        match error.code() {
            Some(&SqlState::QUERY_CANCELED) => Self::TooSlow(limit),
            Some(code) if !means_away(code) => Self::Refused(error),
            None if !error.is_closed() && !is_input_or_output(&error) => Self::Refused(error),
            _ => Self::Away(Some(error)),
        }
    }
}

/// Without the time that it had: for what is no statement.
impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::of(error, super::session::STATEMENT_LIMIT)
    }
}

impl From<PoolError> for ReadError {
    fn from(error: PoolError) -> Self {
        Self::NoSession(Box::new(error))
    }
}

/// Connection lost (08), out of sessions, memory or disk (53), shut down or starting (57P), crashed (58), a session
/// ended because its reader stalled (25P03), or a lock that a migration holds (55P03).
fn means_away(code: &SqlState) -> bool {
    let code = code.code();
    ["08", "53", "57P", "58", "25P03", "55P03"]
        .iter()
        .any(|class| code.starts_with(class))
}

fn is_input_or_output(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_whether_coming_again_helps() {
        for code in [
            "08006", "53300", "57P01", "57P03", "58030", "25P03", "55P03",
        ] {
            assert!(means_away(&SqlState::from_code(code)), "{code}");
        }
        for code in ["42P01", "42703", "22P02", "42501", "25006"] {
            assert!(!means_away(&SqlState::from_code(code)), "{code}");
        }
    }
}
