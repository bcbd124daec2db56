//! One piece of an interval between two snapshots, for what the piece costs.
//!
//! An interval may be most of the log: a client comes back after days. Sorted at once it would keep everybody waiting for
//! a minute before its first event, and the database from forgetting old rows for as long as its reader takes. So each
//! page is a short transaction of its own, and between two of them nothing is held but an id: the order is that of the
//! ids, and what is visible in a snapshot stays the same set of events whenever one looks.
//!
//! The ids of a page are looked for in windows ([`Windows`]), since nothing orders the log by id. What a window costs must
//! not follow from the interval either, so whether an event is owed is asked of each event in it, in words that keep the
//! planner from the index on transactions.

use std::pin::pin;

use deadpool_postgres::Transaction;
use futures::TryStreamExt;
use tokio_postgres::types::{ToSql, Type};

use super::SourceError;
use super::log::{self, PIECE_BYTES, Rows, Xid};
use super::operation::Columns;
use crate::cursor::Snapshot;
use crate::event::Event;
use crate::postgres::read::{FIND_EVENTS_BY_INDEX, Windows};

/// A page ends once its events have this many bytes.
const PAGE_BYTES: usize = 4 * PIECE_BYTES;
/// How many rows the first page asks for.
const FIRST_ROWS: i64 = 250;
/// Most rows that a page asks for.
const MOST_ROWS: i64 = 2_000;
/// How much larger each window of ids is than the one before. The first is as large as if events lay densely, which they
/// mostly do.
const GROWTH: i64 = 4;

/// Up to where the log was trimmed, and about where the ids of what a reader is owed begin and end.
const BOUNDS: &str = "SELECT trimmed_through,
        least((SELECT id FROM bellwether.event WHERE xid >= $1::text::xid8 ORDER BY xid LIMIT 1),
            (SELECT id FROM bellwether.event WHERE xid = ANY ($2::text[]::xid8[]) ORDER BY xid LIMIT 1)),
        pg_sequence_last_value('bellwether.event_id')
    FROM bellwether.log";

/// Where a reader is inside an interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bookmark {
    /// What it has; none where it has nothing.
    after: Option<i64>,
    /// How many rows are likely to fill its next page: what is read beyond that is read in vain.
    rows: i64,
}

impl Bookmark {
    /// After the event of this id, or at the beginning.
    pub(super) fn after(id: Option<i64>) -> Self {
        Self {
            after: id,
            rows: FIRST_ROWS,
        }
    }

    /// After a page with so many rows of so many bytes.
    fn next(last: Option<i64>, rows: i64, bytes: usize) -> Self {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).max(1);
        let fitting = (PAGE_BYTES as i64).saturating_mul(rows) / bytes;
        Self {
            after: last,
            rows: fitting.clamp(1, MOST_ROWS),
        }
    }
}

/// Some events of an interval, in order.
pub(super) struct Page {
    /// Each of at most [`PIECE_BYTES`] (and one event).
    pub(super) pieces: Vec<Vec<Event>>,
    /// Where the next page begins; none if that was the last.
    pub(super) next: Option<Bookmark>,
    /// No event up to this transaction is kept.
    pub(super) trimmed_through: u64,
}

/// Reads the next page of what is visible in `to` and lacked by a reader at `seen`, in a transaction that has read nothing
/// yet.
pub(super) async fn read(
    transaction: &Transaction<'_>,
    seen: &Snapshot,
    to: &Snapshot,
    Bookmark { after, rows: limit }: Bookmark,
) -> Result<Page, SourceError> {
    transaction.batch_execute(FIND_EVENTS_BY_INDEX).await?;
    let (xmax, open) = log::parameters(seen);
    let lacked: [(&(dyn ToSql + Sync), Type); 2] = [(&xmax, Type::TEXT), (&open, Type::TEXT_ARRAY)];
    let bounds = transaction.query_typed_opt(BOUNDS, &lacked).await?;
    let bounds = bounds.ok_or(SourceError::NoLog)?;
    let mut page = Page {
        pieces: Vec::new(),
        next: None,
        trimmed_through: bounds.get::<_, Xid>(0).0,
    };
    let id = |column| bounds.get::<_, Option<i64>>(column).unwrap_or(0);
    let bounds_of_ids = (id(1), id(2));
    let columns = Columns::ask(&**transaction).await?;
    let rows = columns.as_ref().map_or(Rows::Json, |_| Rows::Sent);
    let statement = format!(
        "{} FROM (SELECT e.* FROM bellwether.event e
            WHERE e.id BETWEEN $1 AND $2 AND NOT pg_visible_in_snapshot(e.xid, $3::text::pg_snapshot)
                AND pg_visible_in_snapshot(e.xid, $4::text::pg_snapshot) ORDER BY e.id LIMIT {limit}) e ORDER BY e.id",
        log::columns(rows)
    );
    let (seen, to) = (seen.to_string(), to.to_string());
    let (mut count, mut bytes, mut bytes_of_piece) = (0, 0, 0);
    let mut last = after;
    for window in Windows::new(false, after, bounds_of_ids, (limit, GROWTH)) {
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (window.start(), Type::INT8),
            (window.end(), Type::INT8),
            (&seen, Type::TEXT),
            (&to, Type::TEXT),
        ];
        let mut rows = pin!(transaction.query_typed_raw(&statement, parameters).await?);
        while count < limit && bytes < PAGE_BYTES {
            let Some(row) = rows.try_next().await? else {
                break;
            };
            count += 1;
            last = Some(row.get(0));
            let Some(event) = log::event(&row, columns.as_ref())? else {
                continue;
            };
            let size = event.size();
            bytes += size;
            bytes_of_piece += size;
            match page.pieces.last_mut() {
                Some(piece) if bytes_of_piece <= PIECE_BYTES => piece.push(event),
                _ => {
                    bytes_of_piece = size;
                    page.pieces.push(vec![event]);
                }
            }
        }
        if count == limit || bytes >= PAGE_BYTES {
            page.next = Some(Bookmark::next(last, count, bytes));
            break;
        }
    }
    Ok(page)
}
