//! What a session stands on: a primary, our log, and the epoch that its transaction ids belong to.
//!
//! Transaction ids mean something only on one timeline of one cluster: after a failover, or where the log was restored
//! from a dump, they are handed out again. The epoch names the ground; a cursor of another one is refused.

use sha2::{Digest, Sha256};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, GenericClient};

use super::SourceError;
use super::log::Xid;
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

/// The table's OID changes when the schema is dropped and restored in place: its cursors are of another log then.
/// A standby has no timeline of its own.
const FOUND: &str = "SELECT pg_is_in_recovery(), l.system_identifier = c.system_identifier,
        (SELECT oid::text FROM pg_database WHERE datname = current_database()) || ' ' || l.tableoid || ' ' || l.id || ' ' || t.epoch,
        l.trimmed_through
    FROM pg_control_system() c, bellwether.log l
    LEFT JOIN bellwether.timeline t
        ON t.timeline = CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END";

const IS_STANDBY: &str = "SELECT pg_is_in_recovery()";

/// What a session stands on.
pub(super) struct Ground {
    pub(super) epoch: Epoch,
}

impl Ground {
    /// Makes sure that there is ground to stand on. Writes only where a cluster or a timeline is met for the first time,
    /// so that a database that takes no writes can be read.
    pub(super) async fn establish(client: &Client) -> Result<Self, SourceError> {
        let standby: bool = client.query_typed_one(IS_STANDBY, &[]).await?.get(0);
        if standby {
            return Err(SourceError::Standby);
        }
        if let Some(epoch) = Found::read(client).await?.epoch {
            return Ok(Self { epoch });
        }
        client
            .batch_execute(EMPTY_FOREIGN_LOG)
            .await
            .map_err(explain)?;
        client.execute_typed(NAME_TIMELINE, &[]).await?;
        match Found::read(client).await?.epoch {
            Some(epoch) => Ok(Self { epoch }),
            None => Err(SourceError::NoLog),
        }
    }

    /// That of a cursor.
    pub(super) fn of(epoch: Epoch) -> Self {
        Self { epoch }
    }

    /// Whether a session stands on it: not where the log was replaced by one out of a dump, nor where a connection string
    /// leads to several servers and this is another one. Returns up to which transaction no event is kept.
    pub(super) async fn holds(&self, client: &impl GenericClient) -> Result<u64, SourceError> {
        let found = Found::read(client).await?;
        if found.is_standby {
            return Err(SourceError::Standby);
        }
        if found.epoch != Some(self.epoch) {
            return Err(SourceError::LogReplaced);
        }
        Ok(found.trimmed_through)
    }
}

/// What is there.
struct Found {
    is_standby: bool,
    /// None where the log is of another cluster, or the timeline has no name yet.
    epoch: Option<Epoch>,
    trimmed_through: u64,
}

impl Found {
    async fn read(client: &impl GenericClient) -> Result<Self, SourceError> {
        let row = client.query_typed_opt(FOUND, &[]).await.map_err(explain)?;
        let row = row.ok_or(SourceError::NoLog)?;
        let is_ours: bool = row.get(1);
        Ok(Self {
            is_standby: row.get(0),
            epoch: row.get::<_, Option<&str>>(2).filter(|_| is_ours).map(epoch),
            trimmed_through: row.get::<_, Xid>(3).0,
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

/// What it means that a statement about the log has failed.
pub(super) fn explain(error: tokio_postgres::Error) -> SourceError {
    match error.code() {
        Some(code) if [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME].contains(code) => {
            SourceError::NoLog
        }
        _ => SourceError::Database(error),
    }
}
