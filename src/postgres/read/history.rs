//! The history of one operation: its events in the log, in order.
//!
//! The index on the log's entities is a coarse one (see `0003_timeline_index.sql`): it says in which parts of the log an
//! operation may have events, and those are read. For an operation with a million events that is nearly all of the log,
//! so a page is looked for in windows of ids that grow: a long history costs a page only its own part, a short one in a
//! long log two or three passes over the index.

use std::ops::RangeInclusive;
use std::pin::pin;

use deadpool_postgres::{Pool, Transaction};
use futures::TryStreamExt;
use jiff::Timestamp;
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::{FIND_EVENTS_BY_INDEX, PAGE_BYTES, ReadError, Windows, session};
use crate::event::{Event, Keys, LogRow, Payload};

/// How many ids the first window has, and how much larger each is than the one before: an operation may have few events.
const WINDOWS: (i64, i64) = (10_000, 64);

/// Where the log begins and ends, and whether the operation is known apart from its events.
const BOUNDS: &str = "SELECT
        log.trimmed_through > '0'::xid8,
        coalesce((SELECT at FROM bellwether.event ORDER BY xid LIMIT 1), transaction_timestamp()),
        (SELECT id FROM bellwether.event ORDER BY xid LIMIT 1),
        pg_sequence_last_value('bellwether.event_id'),
        EXISTS (SELECT FROM public.sync_operations WHERE id = $1)
    FROM bellwether.log";

/// Some events of an operation, in order.
#[derive(Debug)]
pub(crate) struct History {
    /// The events.
    pub(crate) events: Vec<Event>,
    /// The id of the last event, if more follow.
    pub(crate) next: Option<i64>,
    /// From when on the log has everything; `None` if nothing was ever trimmed.
    pub(crate) complete_from: Option<Timestamp>,
    /// Whether there is such an operation now.
    pub(crate) operation_exists: bool,
}

/// Reads at most `limit` events of an operation and of its errors, fewer where they are large, after the event `after` in the chosen direction.
///
/// Events are in order for each row; a transaction that commits while the pages are being read may add an event with an
/// id that lies behind.
///
/// # Errors
/// Where the database is away, too slow, or refuses.
pub(crate) async fn history(
    pool: &Pool,
    operation: Uuid,
    newest_first: bool,
    after: Option<i64>,
    limit: usize,
) -> Result<History, ReadError> {
    session::read(pool, async |transaction| {
        transaction.batch_execute(FIND_EVENTS_BY_INDEX).await?;
        let bounds = transaction
            .query_typed_one(BOUNDS, &[(&operation, Type::UUID)])
            .await?;
        let (oldest, newest): (Option<i64>, Option<i64>) = (bounds.try_get(2)?, bounds.try_get(3)?);
        let mut events = Vec::new();
        let mut is_full = false;
        let bounds_of_ids = (oldest.unwrap_or(0), newest.unwrap_or(0));
        for window in Windows::new(newest_first, after, bounds_of_ids, WINDOWS) {
            let missing = limit + 1 - events.len();
            is_full = read_window(
                transaction,
                operation,
                newest_first,
                window,
                missing,
                &mut events,
            )
            .await?;
            if is_full || events.len() > limit {
                break;
            }
        }
        let more = is_full || events.len() > limit;
        events.truncate(limit);
        let is_trimmed: bool = bounds.try_get(0)?;
        Ok(History {
            next: events.last().filter(|_| more).map(|event| event.id),
            events,
            complete_from: if is_trimmed { bounds.try_get(1)? } else { None },
            operation_exists: bounds.try_get(4)?,
        })
    })
    .await
}

/// Adds what is in the window; whether more was left out because the page has as many bytes as it may.
async fn read_window(
    transaction: &Transaction<'_>,
    operation: Uuid,
    newest_first: bool,
    window: RangeInclusive<i64>,
    limit: usize,
    events: &mut Vec<Event>,
) -> Result<bool, ReadError> {
    let direction = if newest_first { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT id, xid::text::bigint, at, revision, topic, type, entity,
             coalesce(payload, bellwether.row_in_utc(operation))::text
         FROM bellwether.event WHERE entity = $1 AND topic IN ('operations', 'errors') AND id BETWEEN $2 AND $3 ORDER BY id {direction} LIMIT {limit}"
    );
    let operation = operation.to_string();
    let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
        (&operation, Type::TEXT),
        (window.start(), Type::INT8),
        (window.end(), Type::INT8),
    ];
    let mut rows = pin!(transaction.query_typed_raw(&sql, parameters).await?);
    let mut bytes: usize = events.iter().map(Event::size).sum();
    while let Some(row) = rows.try_next().await? {
        if bytes >= PAGE_BYTES {
            return Ok(true);
        }
        let event = event_of(&row)?;
        bytes += event.size();
        events.push(event);
    }
    Ok(false)
}

fn event_of(row: &Row) -> Result<Event, ReadError> {
    let at: Timestamp = row.try_get(2)?;
    Ok(Event::new(LogRow {
        id: row.try_get(0)?,
        xid: row.try_get::<_, i64>(1)?.unsigned_abs(),
        at: &at.to_string(),
        revision: row.try_get(3)?,
        topic: row.try_get(4)?,
        kind: row.try_get(5)?,
        entity: row.try_get(6)?,
        old: Keys::default(),
        payload: Payload::Json(row.try_get(7)?),
    })?)
}
