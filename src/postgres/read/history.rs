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

use super::{PAGE_BYTES, ReadError, session};
use crate::event::{Event, Keys, LogRow, Payload};

/// How many ids the first window has.
const FIRST_WINDOW: i64 = 10_000;
/// How much larger each window is than the one before.
const GROWTH: i64 = 64;

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
        transaction
            .batch_execute(session::FIND_EVENTS_BY_INDEX)
            .await?;
        let bounds = transaction
            .query_typed_one(BOUNDS, &[(&operation, Type::UUID)])
            .await?;
        let (oldest, newest): (Option<i64>, Option<i64>) = (bounds.try_get(2)?, bounds.try_get(3)?);
        let mut events = Vec::new();
        let mut is_full = false;
        for window in Windows::new(
            newest_first,
            after,
            oldest.unwrap_or(0),
            newest.unwrap_or(0),
        ) {
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

/// Ranges of ids, one after another in the chosen direction and each larger than the one before, that together are all
/// ids after the start. Between `oldest` and `newest` lie most events, but ids and transactions are not quite in step:
/// so the outermost ranges are open.
#[derive(Debug)]
struct Windows {
    newest_first: bool,
    /// The next id to be covered; `None` when all are.
    next: Option<i64>,
    /// The next range ends this far from here.
    from: i64,
    width: i64,
    /// Beyond this id the range is open.
    last: i64,
}

impl Windows {
    fn new(newest_first: bool, after: Option<i64>, oldest: i64, newest: i64) -> Self {
        let (first, last) = if newest_first {
            (newest, oldest)
        } else {
            (oldest, newest)
        };
        let (next, from) = match (after, newest_first) {
            (None, false) => (Some(i64::MIN), first),
            (None, true) => (Some(i64::MAX), first),
            (Some(after), false) => (after.checked_add(1), after.max(first)),
            (Some(after), true) => (after.checked_sub(1), after.min(first)),
        };
        Self {
            newest_first,
            next,
            from,
            width: FIRST_WINDOW,
            last,
        }
    }
}

impl Iterator for Windows {
    type Item = RangeInclusive<i64>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next?;
        let window = if self.newest_first {
            let end = self.from.saturating_sub(self.width);
            let end = if end <= self.last { i64::MIN } else { end };
            self.next = end.checked_sub(1);
            self.from = end;
            end..=start
        } else {
            let end = self.from.saturating_add(self.width);
            let end = if end >= self.last { i64::MAX } else { end };
            self.next = end.checked_add(1);
            self.from = end;
            start..=end
        };
        self.width = self.width.saturating_mul(GROWTH);
        Some(window)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn windows_cover_every_id_after_the_start_once_and_in_order(
            newest_first: bool,
            after in proptest::option::of(any::<i64>()),
            oldest in 0..i64::MAX,
            length in 0..10_000_000_i64,
        ) {
            let windows: Vec<_> = Windows::new(newest_first, after, oldest, oldest.saturating_add(length)).collect();
            prop_assert!(windows.len() < 24);
            let mut expected = match (after, newest_first) {
                (None, false) => Some(i64::MIN),
                (None, true) => Some(i64::MAX),
                (Some(after), false) => after.checked_add(1),
                (Some(after), true) => after.checked_sub(1),
            };
            for window in windows {
                let (near, far) = if newest_first {
                    (*window.end(), *window.start())
                } else {
                    (*window.start(), *window.end())
                };
                prop_assert_eq!(Some(near), expected);
                prop_assert!(window.start() <= window.end());
                expected = if newest_first { far.checked_sub(1) } else { far.checked_add(1) };
            }
            prop_assert_eq!(expected, None);
        }
    }

    #[test]
    fn the_first_window_of_a_page_is_a_small_one() {
        let mut windows = Windows::new(false, None, 1_000_000, 9_000_000);
        assert_eq!(windows.next(), Some(i64::MIN..=1_010_000));
        assert_eq!(windows.next(), Some(1_010_001..=1_650_000));
        let mut windows = Windows::new(true, Some(5_000_000), 1_000_000, 9_000_000);
        assert_eq!(windows.next(), Some(4_990_000..=4_999_999));
    }
}
