//! Waiting for the WAL: what is visible may not be durable yet.
//!
//! An asynchronous commit is visible before its WAL is flushed. If a crash undid one that clients have seen, they would
//! hold something that never was. Worse, the transaction ids of everything that was not flushed, rolled-back ones
//! included, are handed out again: a cursor that counts them as seen would take new events for old ones. So a batch and
//! its cursor are published only once the WAL is flushed up to where it stood after the snapshot was taken.

use std::sync::Arc;

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use super::SourceError;

/// A commit that waits for its own WAL, and so for all WAL before it; it changes nothing.
const FORCE: &str = "BEGIN; SET LOCAL synchronous_commit = local;
    SELECT pg_logical_emit_message(true, 'bellwether', ''); COMMIT";

/// Waits for the WAL to be flushed.
pub(super) struct Flush {
    client: Arc<Client>,
}

impl Flush {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client }
    }

    /// Resolves once the WAL is flushed up to `lsn`. A look has waited a little already for others to flush it.
    pub(super) async fn reach(&self, lsn: PgLsn) -> Result<(), SourceError> {
        let row = self
            .client
            .query_typed_one("SELECT pg_current_wal_flush_lsn()", &[])
            .await?;
        if row.get::<_, PgLsn>(0) >= lsn {
            return Ok(());
        }
        // Its own commit record lies beyond `lsn`, and the commit returns when that is flushed.
        self.client.batch_execute(FORCE).await?;
        Ok(())
    }
}
