//! Waiting for the WAL: what is visible may not be durable yet.
//!
//! An asynchronous commit is visible before its WAL is flushed. If a crash undid one that clients have seen, they would
//! hold something that never was. Worse, the transaction ids of everything that was not flushed, rolled-back ones
//! included, are handed out again: a cursor that counts them as seen would take new events for old ones. So a batch and
//! its cursor are published only once the WAL is flushed up to where it stood after the snapshot was taken.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use super::SourceError;

/// What others flush anyway is waited for this long, then again, before a flush is forced. By the time of the first
/// question, which is sent at once, it is mostly flushed. Not by `pg_sleep()` on the server, which would spare journeys: it goes
/// by the wall clock, and sleeps for an hour where that is set back by an hour meanwhile.
const WAITS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(2),
];

/// A commit that waits for its own WAL, and so for all WAL before it; it changes nothing. One message is one transaction.
const FORCE: &str = "SET LOCAL synchronous_commit = local;
    SELECT pg_logical_emit_message(true, 'bellwether', '')";

/// Resolves once the WAL is flushed up to `lsn`.
pub(super) async fn reach(client: &Client, lsn: PgLsn) -> Result<(), SourceError> {
    for wait in WAITS {
        if !wait.is_zero() {
            sleep(wait).await;
        }
        let row = client
            .query_typed_one("SELECT pg_current_wal_flush_lsn()", &[])
            .await?;
        if row.get::<_, PgLsn>(0) >= lsn {
            return Ok(());
        }
    }
    // Its own commit record lies beyond `lsn`, and the commit returns when that is flushed.
    client.batch_execute(FORCE).await?;
    Ok(())
}
