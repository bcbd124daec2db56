//! Is there a proxy in the way that pools by transaction or statement? Through it nobody can LISTEN.

use crate::doctor::report::Finding;
use crate::doctor::session::CheckError;
use crate::postgres::config::DatabaseConfig;

/// What it found, and whether there is such a proxy. Asked before anything is set in a session.
pub(in crate::doctor) async fn check(
    config: &DatabaseConfig,
) -> Result<(Finding, bool), CheckError> {
    let pooled = config.look_for_pooler().await?;
    let finding = if pooled {
        Finding::failure(
            "a proxy pools by transaction: one session is served by several server processes",
            "connect the relay past the proxy, straight to PostgreSQL (or to a pool in session mode); applications may stay",
        )
    } else {
        Finding::ok("sessions are the server's own: no proxy pools by transaction")
    };
    Ok((finding.figure("pooled_by_transaction", pooled), pooled))
}
