//! Why the database cannot be used, in words that may be shown to anybody.

use std::error::Error;
use std::io;

use tokio_postgres::error::DbError;

/// Classes of SQLSTATE about the state of the server, whose messages name no host, role or statement: read-only,
/// insufficient resources, operator intervention, system errors.
const TELLING: [&str; 4] = ["25", "53", "57", "58"];
/// What means that the server takes no writes now, though it may be read.
const TAKES_NO_WRITES: [&str; 3] = ["25006", "53100", "58030"];

/// The error's own message, and what the server or the system says about it.
pub(crate) fn reason(error: &(dyn Error + 'static)) -> String {
    described(&error.to_string(), error)
}

/// Words of the caller's own, and what the server or the system says about it.
pub(crate) fn described(what: &str, error: &(dyn Error + 'static)) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = if let Some(said) = inner.downcast_ref::<DbError>() {
            let class = said.code().code().get(..2);
            class
                .is_some_and(|class| TELLING.contains(&class))
                .then(|| said.message().to_owned())
        } else {
            inner
                .downcast_ref::<io::Error>()
                .map(|error| error.kind().to_string())
        };
        if let Some(said) = said {
            return format!("{what}: {said}");
        }
        cause = inner.source();
    }
    what.to_owned()
}

/// The server's message where it refused a write that it may take later: read-only, or out of space.
pub(crate) fn refused_write(error: &tokio_postgres::Error) -> Option<&str> {
    let said = error.as_db_error()?;
    TAKES_NO_WRITES
        .contains(&said.code().code())
        .then(|| said.message())
}
