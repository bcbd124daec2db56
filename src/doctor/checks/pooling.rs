//! Is there a proxy in the way that pools by transaction or statement? Through it nobody can LISTEN.
//!
//! Two sessions are open at once. If the server shows both the same process, or one of them another process from one
//! transaction to the next, then they are not sessions of the server.

use tokio_postgres::Client;

use crate::doctor::report::Finding;
use crate::doctor::session::{APPLICATION_NAME, CheckError};
use crate::postgres::config::DatabaseConfig;

const ROUNDS: usize = 3;
const PROCESS: &str = "SELECT pg_backend_pid()";

/// What it found, and whether there is such a proxy. Asked before anything is set in a session.
pub(in crate::doctor) async fn check(
    config: &DatabaseConfig,
) -> Result<(Finding, bool), CheckError> {
    let (first, second) = (bare(config).await?, bare(config).await?);
    let mut seen = Vec::new();
    let mut pooled = false;
    for _ in 0..ROUNDS {
        let before = process(&first).await?;
        // An open transaction keeps its process, so that a proxy has to find another one for the first session.
        second.batch_execute("BEGIN").await?;
        let other = process(&second).await?;
        let after = process(&first).await?;
        second.batch_execute("ROLLBACK").await?;
        pooled |= before == other || before != after;
        seen.extend([before, after]);
    }
    pooled |= seen.windows(2).any(|pair| pair[0] != pair[1]);
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

async fn bare(config: &DatabaseConfig) -> Result<Client, CheckError> {
    let (client, connection) = config.connect_bare(APPLICATION_NAME).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn process(client: &Client) -> Result<i32, CheckError> {
    Ok(client.query_typed_one(PROCESS, &[]).await?.get(0))
}
