//! Reading the present state, and the cursor that it is the state at.
//!
//! All of it in one REPEATABLE READ transaction, so that it is one snapshot: what the mirror starts from, and the recent
//! events before it, with which subscribers of an earlier relay can resume.

use std::time::Instant;

use tokio_postgres::Client;
use tokio_postgres::types::{PgLsn, Type};

use super::log::{self, Xid};
use super::{SourceError, SourceOptions, patiently};
use crate::cursor::{Cursor, Epoch, Snapshot};
use crate::event::{Event, Row, Topic};
use crate::hub::mirror::Mirror;
use crate::hub::{Completeness, Origin};
use crate::postgres::pool::transaction_settings;

/// The lock comes before the snapshot: a snapshot that is older than a truncation would find the slot empty, and the log
/// not trimmed. While it is held the log is not trimmed; writers do not notice.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; LOCK TABLE bellwether.event IN ACCESS SHARE MODE";

const HEADER: &str =
    "SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn(), transaction_timestamp(),
        (SELECT trimmed_through FROM bellwether.log)";

/// The newest first; `limit` + 1 of them tell that there were more.
const ACTIVE_OPERATIONS: &str =
    "SELECT o.id::text, o.revision, CASE WHEN s.since IS NULL THEN row_to_json(o)::text
        ELSE (to_jsonb(o) || jsonb_build_object('stalled_since', s.since))::text END
    FROM public.sync_operations o LEFT JOIN bellwether.stalled_operation s ON s.operation_id = o.id
    WHERE o.status IN ('pending', 'in_progress', 'paused') ORDER BY o.updated_at DESC LIMIT $1";

const ENDED_OPERATIONS: &str =
    "SELECT o.id::text, o.revision, row_to_json(o)::text FROM public.sync_operations o
    WHERE o.completed_at IS NOT NULL ORDER BY o.completed_at DESC LIMIT $1";

const CONNECTIONS: &str =
    "SELECT c.client_id, c.revision, row_to_json(c)::text FROM public.connection_status c
    ORDER BY (c.status <> 'disconnected') DESC, c.updated_at DESC LIMIT $1";

const HEALTH: &str =
    "SELECT h.id::text, h.revision, row_to_json(h)::text FROM public.sync_status_snapshots h
    ORDER BY h.taken_at DESC, h.id DESC LIMIT $1";

/// The transaction of the $1-th newest event: what comes after it is recent.
const BOUNDARY: &str = "SELECT e.xid FROM bellwether.event e ORDER BY e.xid DESC OFFSET $1 LIMIT 1";

/// Reads the state, and where the WAL stood: the origin may be used once it is flushed up to there.
pub(super) async fn origin(
    client: &Client,
    epoch: Epoch,
    options: &SourceOptions,
) -> Result<(Origin, PgLsn), SourceError> {
    let learnt = Instant::now();
    client
        .batch_execute(&format!(
            "{BEGIN}; {} SET LOCAL plan_cache_mode = auto",
            transaction_settings()
        ))
        .await?;
    let header = client.query_typed_one(HEADER, &[]).await?;
    let snapshot = Snapshot::parse(header.get(0))?;
    let as_of = header.get::<_, jiff::Timestamp>(2).to_string();
    let trimmed_through = header.get::<_, Option<Xid>>(3).ok_or(SourceError::NoLog)?.0;

    let mut mirror = Mirror::new(options.mirror);
    let most = i64::try_from(options.mirror.rows).unwrap_or(i64::MAX - 1);
    let recent = i64::try_from(options.mirror.recent).unwrap_or(i64::MAX);
    let ended = rows(client, ENDED_OPERATIONS, recent).await?;
    let active = rows(client, ACTIVE_OPERATIONS, most + 1).await?;
    let connections = rows(client, CONNECTIONS, most + 1).await?;
    let health = rows(client, HEALTH, 1).await?;
    if active.len().max(connections.len()) > options.mirror.rows {
        mirror.mark_incomplete();
    }
    let tables = [
        (Topic::Operations, ended),
        (Topic::Operations, active),
        (Topic::Connections, connections),
        (Topic::Health, health),
    ];
    for (topic, rows) in tables {
        rows.into_iter()
            .rev()
            .for_each(|row| mirror.load(topic, row));
    }

    let boundary = client
        .query_typed_opt(BOUNDARY, &[(&i64::from(options.recent_events), Type::INT8)])
        .await?;
    let oldest = boundary.map_or(trimmed_through, |row| row.get::<_, Xid>(0).0) + 1;
    let recent_from = snapshot.as_of_transaction(oldest);
    let recent = events(client, &recent_from, &snapshot, options).await?;
    client.batch_execute("COMMIT").await?;

    let complete = Completeness {
        as_of: as_of.into(),
        learnt,
    };
    let (cursor, recent_from) = (Cursor::at(epoch, snapshot), Cursor::at(epoch, recent_from));
    Ok((
        Origin {
            mirror,
            cursor,
            recent,
            recent_from,
            complete,
        },
        header.get(1),
    ))
}

async fn rows(client: &Client, statement: &str, limit: i64) -> Result<Vec<Row>, SourceError> {
    let rows = client
        .query_typed(statement, &[(&limit, Type::INT8)])
        .await?;
    let row = |row: &tokio_postgres::Row| {
        let entity: &str = row.get(0);
        Row::new(entity, row.get(1), row.get(2)).map_err(|source| SourceError::Row {
            entity: entity.to_owned(),
            source,
        })
    };
    rows.iter().map(row).collect()
}

async fn events(
    client: &Client,
    from: &Snapshot,
    to: &Snapshot,
    options: &SourceOptions,
) -> Result<Vec<Event>, SourceError> {
    let mut look = patiently(options, log::interval(client, from, to, 0)).await?;
    let mut events = Vec::new();
    loop {
        let piece = patiently(options, look.next_piece()).await?;
        events.extend(piece.events);
        if piece.is_last {
            return Ok(events);
        }
    }
}
