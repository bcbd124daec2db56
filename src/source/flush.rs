//! Waiting for the WAL: what is visible may not be durable yet.
//!
//! An asynchronous commit is visible before its WAL is flushed. If a crash undid one that clients have seen, they would
//! hold something that never was. Worse, the transaction ids of everything that was not flushed, rolled-back ones
//! included, are handed out again: a cursor that counts them as seen would take new events for old ones. So a batch and
//! its cursor are published only once the WAL is flushed up to where it stood after the snapshot was taken.

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use super::SourceError;

/// A commit that waits for its own WAL, and so for all WAL before it; it changes nothing. One message is one transaction.
const FORCE: &str = "SET LOCAL synchronous_commit = local;
    SELECT pg_logical_emit_message(true, 'bellwether', '')";

/// Resolves once the WAL is flushed up to `lsn`. A look has mostly waited for that already, where it was made.
pub(super) async fn reach(client: &Client, lsn: PgLsn) -> Result<(), SourceError> {
    let row = client
        .query_typed_one("SELECT pg_current_wal_flush_lsn()", &[])
        .await?;
    if row.get::<_, PgLsn>(0) >= lsn {
        return Ok(());
    }
    // Its own commit record lies beyond `lsn`, and the commit returns when that is flushed.
    client.batch_execute(FORCE).await?;
    Ok(())
}
