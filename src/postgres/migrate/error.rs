//! What can go wrong between this binary and a database's schema.

use tokio_postgres::error::ErrorPosition;

use super::{LOCK_ATTEMPTS, MIGRATOR_TIMEOUT, VERSION};
use crate::postgres::{pool::ConnectError, schema::OLDEST_SERVER};

/// Why the database cannot be served or migrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// There is no way in.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server lacks what the schema uses.
    #[error("the server is PostgreSQL {found}; bellwether needs {OLDEST_SERVER} or newer")]
    ServerTooOld {
        /// The server's version.
        found: String,
    },
    /// A standby cannot be written, and nobody can listen there.
    #[error(
        "the server is a standby; connect to the primary (several hosts with target_session_attrs=read-write find it)"
    )]
    Standby,
    /// A newer bellwether has been here. An older one would not understand, or undo, what it has done.
    #[error(
        "the database is newer than this binary: it has {found}, this is bellwether {VERSION}; use the newer binary"
    )]
    DatabaseNewer {
        /// What this binary does not know.
        found: String,
    },
    /// A migration was edited after it had been applied.
    #[error(
        "migration {name} was applied with other contents than this binary carries (checksum {applied}, expected {expected}); restore the file, and put the change into a new migration"
    )]
    ChecksumDiffers {
        /// The migration.
        name: &'static str,
        /// The checksum in the database.
        applied: String,
        /// The checksum of the file in this binary.
        expected: String,
    },
    /// The schema is not there yet, or older than this binary.
    #[error("the database lacks {missing}; run `bellwether migrate`")]
    Behind {
        /// What is to be applied.
        missing: String,
    },
    /// Somebody held a lock all the time.
    #[error(
        "{step} found no moment without conflicting locks in {LOCK_ATTEMPTS} attempts; end the long transaction on its tables, or try when there is less going on"
    )]
    Locked {
        /// What was tried.
        step: String,
    },
    /// Another migrator did not come to an end.
    #[error("another migrator has held its lock for {} s", MIGRATOR_TIMEOUT.as_secs())]
    Busy,
    /// A statement failed.
    #[error("{step} failed{}", line.map(|line| format!(" at line {line}")).unwrap_or_default())]
    Failed {
        /// What was tried.
        step: String,
        /// The line of the SQL file, where the server told.
        line: Option<usize>,
        /// The server's reason.
        #[source]
        source: tokio_postgres::Error,
    },
}

impl MigrateError {
    /// Whether it is worth while to wait and try again: there is no way in just now, or the server takes no writes.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Standby | Self::Locked { .. } | Self::Busy => true,
            Self::Failed { source, .. } => {
                let code = source.code().map(|code| code.code());
                source.is_closed()
                    || code.is_some_and(|code| {
                        code == "25006"
                            || ["53", "57", "58"]
                                .iter()
                                .any(|class| code.starts_with(class))
                    })
            }
            _ => false,
        }
    }

    /// A statement of a step failed.
    pub(super) fn failed(step: impl ToString, source: tokio_postgres::Error) -> Self {
        Self::Failed {
            step: step.to_string(),
            line: None,
            source,
        }
    }

    /// A statement of a file failed.
    pub(super) fn failed_in_file(
        step: impl ToString,
        sql: &str,
        source: tokio_postgres::Error,
    ) -> Self {
        let position = source.as_db_error().and_then(|error| error.position());
        let line = match position {
            Some(ErrorPosition::Original(position)) => Some(line_of(sql, *position)),
            _ => None,
        };
        Self::Failed {
            step: step.to_string(),
            line,
            source,
        }
    }
}

/// The line on which a character stands, both counted from one, as PostgreSQL counts.
fn line_of(sql: &str, position: u32) -> usize {
    let before = usize::try_from(position)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    1 + sql
        .chars()
        .take(before)
        .filter(|&character| character == '\n')
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_an_error_is_counted_as_an_editor_does() {
        let sql = "SELECT 1;\nSELECT ü;\nSELECT 3;";
        assert_eq!(line_of(sql, 1), 1);
        assert_eq!(line_of(sql, 18), 2);
        assert_eq!(line_of(sql, 21), 3);
    }
}
