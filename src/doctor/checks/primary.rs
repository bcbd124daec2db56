//! Can this server be written, and can anybody LISTEN there?

use crate::doctor::report::{Finding, Status};
use crate::doctor::session::{CheckError, Session};

/// The doctor's own session is read only, so the value is asked for that the session began with.
const ASK: &str = "SELECT pg_is_in_recovery(),
    (SELECT reset_val = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only'),
    coalesce(host(inet_server_addr()), 'local socket')";

/// What it found, and whether the server is a standby.
pub(in crate::doctor) async fn check(session: &Session) -> Result<(Finding, bool), CheckError> {
    let row = session.row(ASK).await?;
    let (standby, read_only, address): (bool, bool, String) = (row.get(0), row.get(1), row.get(2));
    let mut finding = if standby {
        Finding::failure(
            "the server is a standby: nobody can LISTEN or write there",
            "connect to the primary; several hosts with target_session_attrs=read-write find it",
        )
    } else {
        Finding::ok("the server is a primary")
    };
    if read_only && !standby {
        finding.add(
            Status::Failure,
            "transactions are read only by default (default_transaction_read_only)",
            "ALTER ROLE … RESET default_transaction_read_only, or ALTER DATABASE, or ALTER SYSTEM, wherever it is set (\\drds shows)",
        );
    }
    let finding = finding
        .figure("standby", standby)
        .figure("read_only", read_only)
        .figure("server_address", address);
    Ok((finding, standby))
}
