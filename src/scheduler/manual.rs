//! A health snapshot at once, as a person asks for it.

use std::time::Duration;

use tokio_postgres::IsolationLevel;
use tokio_postgres::types::Type;

use super::interval;
use crate::postgres::config::DatabaseConfig;
use crate::postgres::pool::{ConnectError, transaction_settings};

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
    // One transaction that says what matters: through a pooler, what a session sets stays for whoever comes next.
    let (mut client, connection) = config.connect_bare("bellwether snapshot").await?;
    let driver = tokio::spawn(connection);
    // Whatever the role's default is: a SERIALIZABLE reader makes other people's writers fail.
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await?;
    transaction.batch_execute(&transaction_settings()).await?;
    let row = transaction
        .query_typed_one(TAKE, &[(&interval(window), Type::TEXT)])
        .await?;
    transaction.commit().await?;
    drop(client);
    // The connection's own error has reached the statement that it interrupted.
    let _ = driver.await;
    Ok(row.get(0))
}
