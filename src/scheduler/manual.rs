//! A health snapshot at once, as a person asks for it.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::interval;
use crate::postgres::config::DatabaseConfig;
use crate::postgres::pool::ConnectError;

const TAKE: &str =
    "SELECT row_to_json(s)::text FROM public.create_sync_status_snapshot($1::text::interval) s";

/// Why no snapshot was taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The database cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The database has refused.
    #[error("no snapshot was taken")]
    Database(#[from] tokio_postgres::Error),
}

/// Takes a snapshot over the given window and returns the row as JSON.
///
/// # Errors
/// Where the database cannot be reached, has not been migrated, or the role may not write snapshots.
pub async fn take_snapshot(
    config: &DatabaseConfig,
    window: Duration,
) -> Result<String, SnapshotError> {
    config.look_for_pooler().await?;
    let (client, connection) = config.connect("bellwether snapshot").await?;
    let driver = tokio::spawn(connection);
    let row = client
        .query_typed_one(TAKE, &[(&interval(window), Type::TEXT)])
        .await?;
    drop(client);
    // The connection's own error has reached the statement that it interrupted.
    let _ = driver.await;
    Ok(row.get(0))
}
