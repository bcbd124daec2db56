//! What a session stands on: a primary, our log, and the epoch that its transaction ids belong to.
//!
//! Transaction ids mean something only on one timeline of one cluster: after a failover, or where the log was restored
//! from a dump, they are handed out again. The epoch names the ground; a cursor of another one is refused.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::SourceError;
use crate::cursor::Epoch;

/// A timeline is named at random when a relay first meets it: two standbys may both be promoted to the same number.
const NAME_TIMELINE: &str = "INSERT INTO bellwether.timeline (timeline)
    VALUES (left(pg_walfile_name(pg_current_wal_lsn()), 8)) ON CONFLICT DO NOTHING";

/// A dump that was restored into another cluster carries foreign transaction ids: the log begins anew. The row lock
/// makes one relay do it.
const EMPTY_FOREIGN_LOG: &str = "BEGIN; SET LOCAL lock_timeout = '2s';
    DELETE FROM bellwether.event WHERE EXISTS (
        SELECT FROM bellwether.log l, pg_control_system() c WHERE l.system_identifier <> c.system_identifier FOR UPDATE OF l);
    UPDATE bellwether.log l SET id = gen_random_uuid(), system_identifier = c.system_identifier, trimmed_through = '0'
        FROM pg_control_system() c WHERE l.system_identifier <> c.system_identifier;
    COMMIT";

const EPOCH: &str = "SELECT (SELECT oid::text FROM pg_database WHERE datname = current_database()) || ' ' || l.id || ' ' || t.epoch
    FROM bellwether.log l, bellwether.timeline t WHERE t.timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8)";

/// What a session stands on.
pub(super) struct Ground {
    pub(super) epoch: Epoch,
}

impl Ground {
    /// Makes sure that there is ground to stand on.
    pub(super) async fn establish(client: Arc<Client>) -> Result<Self, SourceError> {
        let standby: bool = client
            .query_one("SELECT pg_is_in_recovery()", &[])
            .await?
            .get(0);
        if standby {
            return Err(SourceError::Standby);
        }
        client
            .batch_execute(EMPTY_FOREIGN_LOG)
            .await
            .map_err(explain)?;
        client.execute(NAME_TIMELINE, &[]).await?;
        let row = client
            .query_opt(EPOCH, &[])
            .await?
            .ok_or(SourceError::NoLog)?;
        Ok(Self {
            epoch: epoch(row.get(0)),
        })
    }
}

/// A short name for a long one: the first 64 bits of its SHA-256.
fn epoch(name: &str) -> Epoch {
    let digest = Sha256::digest(name.as_bytes());
    let (first, _) = digest
        .split_first_chunk::<8>()
        .expect("a digest has 32 bytes");
    Epoch(u64::from_be_bytes(*first))
}

fn explain(error: tokio_postgres::Error) -> SourceError {
    match error.code() {
        Some(code) if [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME].contains(code) => {
            SourceError::NoLog
        }
        _ => SourceError::Database(error),
    }
}
