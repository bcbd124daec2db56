//! One page of an interval between two snapshots, for what the page costs.
//!
//! An interval may be most of the log: a client comes back after days. Sorted at once it would keep everybody waiting for
//! a minute before its first event, and the database from forgetting old rows for as long as its reader takes. So each
//! page is a short transaction of its own, and between two of them nothing is held but a [`Bookmark`]: the order is that
//! of the ids, and what is visible in a snapshot stays the same set of events whenever one looks.
//!
//! What a page costs must follow neither from the interval nor from the log:
//!
//! - First the interval is measured, by the index on transactions and a bounded number of events at a time: how many it
//!   has, and their least and greatest id.
//! - One of few events is read by that index: each page reads all of it, and returns its part.
//! - Of many events a page looks for the next ids in windows that grow, by the coarse index on ids (see
//!   `0003_timeline_index.sql`), and asks of each event there whether it is owed: in words that keep the planner from
//!   the index on transactions, where it would read the whole interval. Events that are owed to nobody may lie between
//!   them (a transaction was open for long), so a page goes no further than a bounded number of ids, even where it has
//!   found none.

use std::pin::pin;

use deadpool_postgres::Transaction;
use futures::TryStreamExt;
use tokio_postgres::types::{ToSql, Type};

use super::SourceError;
use super::ground::Ground;
use super::log::{self, PIECE_BYTES, Rows, Xid};
use super::operation::Columns;
use crate::cursor::Snapshot;
use crate::event::Event;
use crate::postgres::read::FIND_EVENTS_BY_INDEX;

/// A page ends once its events have this many bytes.
const PAGE_BYTES: usize = 4 * PIECE_BYTES;
/// How many rows the first page asks for.
const FIRST_ROWS: i64 = 32;
/// Most rows that a page asks for, and how many times more than the page before: rows may suddenly be large.
const MOST_ROWS: i64 = 2_000;
const MOST_TIMES: i64 = 8;
/// How much larger each window of ids is than the one before. The first is as large as if events lay densely, which they
/// mostly do.
const GROWTH: i64 = 4;
/// Ids that a page looks at, at most.
const MOST_IDS: i64 = 200_000;
/// So many events are few.
const FEW: i64 = 10_000;
/// Events that are measured at a time, at most, and those of one transaction that are left then.
const MEASURED: i64 = 100_000;

const MEASURE_OPEN: &str =
    "SELECT count(*), min(id), max(id) FROM bellwether.event WHERE xid = ANY ($1::text[]::xid8[])";

/// In the order of the transactions: from $1 on, below $2.
fn measure_later() -> String {
    format!(
        "SELECT count(*), min(id), max(id), max(xid) FROM (
            SELECT id, xid FROM bellwether.event WHERE xid >= $1::text::xid8 AND xid < $2::text::xid8
            ORDER BY xid FETCH FIRST {MEASURED} ROWS WITH TIES) e"
    )
}

/// The events from $1 to $2 of the transactions $3 to below $4 and $5 that are visible in $6.
const OF_FEW: &str = "e.id + 0 BETWEEN $1 AND $2 AND (e.xid >= $3::text::xid8 AND e.xid < $4::text::xid8 OR e.xid = ANY ($5::text[]::xid8[]))
    AND pg_visible_in_snapshot(e.xid, $6::text::pg_snapshot)";

/// The events from $1 to $2 that are not visible in $3, and are in $4.
const OF_MANY: &str =
    "e.id BETWEEN $1 AND $2 AND NOT pg_visible_in_snapshot(e.xid, $3::text::pg_snapshot)
    AND pg_visible_in_snapshot(e.xid, $4::text::pg_snapshot)";

/// Where a reader is inside an interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bookmark {
    /// What it has.
    after: i64,
    /// How many rows are likely to fill its next page: what is read beyond that is read in vain.
    rows: i64,
    extent: Extent,
    /// The transactions from this one on are not measured yet; none where all are.
    unmeasured: Option<u64>,
}

/// The events that an interval has at most, and their ids.
#[derive(Clone, Copy, Debug)]
struct Extent {
    events: i64,
    least: i64,
    greatest: i64,
}

impl Extent {
    const NOTHING: Self = Self {
        events: 0,
        least: i64::MAX,
        greatest: i64::MIN,
    };

    fn add(&mut self, events: i64, least: Option<i64>, greatest: Option<i64>) {
        self.events += events;
        self.least = self.least.min(least.unwrap_or(i64::MAX));
        self.greatest = self.greatest.max(greatest.unwrap_or(i64::MIN));
    }
}

impl Bookmark {
    /// In the interval after this snapshot, of which a reader has what comes up to this id. Ids of ours begin at 1.
    pub(super) fn new(seen: &Snapshot, last_id: Option<i64>) -> Self {
        Self {
            after: last_id.unwrap_or(0),
            rows: FIRST_ROWS,
            extent: Extent::NOTHING,
            unmeasured: Some(seen.xmax()),
        }
    }

    /// Whether the next page is looked for by ids. Before the interval is measured nobody knows.
    pub(super) fn goes_by_ids(&self) -> bool {
        self.unmeasured.is_none() && self.extent.events > FEW
    }

    /// After so many rows of so many bytes, the last of this id.
    fn turned(self, after: i64, rows: i64, bytes: usize) -> Self {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).max(1);
        let fitting = (PAGE_BYTES as i64).saturating_mul(rows) / bytes;
        let most = MOST_ROWS.min(self.rows * MOST_TIMES);
        let rows = if rows == 0 {
            self.rows
        } else {
            fitting.clamp(1, most)
        };
        Self {
            after,
            rows,
            ..self
        }
    }
}

/// Some events of an interval, in order.
#[derive(Debug)]
pub(super) struct Page {
    /// Each of at most [`PIECE_BYTES`] (and one event).
    pub(super) pieces: Vec<Vec<Event>>,
    /// A reader of it has everything up to this id.
    pub(super) through: i64,
    /// Where the next page begins; none if that was the last.
    pub(super) next: Option<Bookmark>,
}

impl Page {
    fn empty(next: Bookmark) -> Self {
        Self {
            pieces: Vec::new(),
            through: next.after,
            next: Some(next),
        }
    }
}

/// Events as they are handed on.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Vec<Event>>,
    bytes: usize,
    bytes_of_last: usize,
}

impl Pieces {
    fn push(&mut self, event: Event) {
        let size = event.size();
        self.bytes += size;
        self.bytes_of_last += size;
        match self.pieces.last_mut() {
            Some(last) if self.bytes_of_last <= PIECE_BYTES => last.push(event),
            _ => {
                self.bytes_of_last = size;
                self.pieces.push(vec![event]);
            }
        }
    }
}

/// Reads the next page of what is visible in `to` and lacked by a reader at `seen`, in a transaction that has read nothing
/// yet, and that must stand on the ground of both. None where not all of that is kept any more.
pub(super) async fn read(
    transaction: &Transaction<'_>,
    ground: &Ground,
    seen: &Snapshot,
    to: &Snapshot,
    mut bookmark: Bookmark,
) -> Result<Option<Page>, SourceError> {
    transaction.batch_execute(FIND_EVENTS_BY_INDEX).await?;
    if seen.oldest_unseen() <= ground.holds(&**transaction).await? {
        return Ok(None);
    }
    measure(transaction, seen, to, &mut bookmark).await?;
    if bookmark.unmeasured.is_some() {
        return Ok(Some(Page::empty(bookmark)));
    }
    Ok(Some(measured(transaction, seen, to, bookmark).await?))
}

/// Measures the next part of the interval, if not all of it is measured.
async fn measure(
    transaction: &Transaction<'_>,
    seen: &Snapshot,
    to: &Snapshot,
    bookmark: &mut Bookmark,
) -> Result<(), SourceError> {
    let Some(from) = bookmark.unmeasured else {
        return Ok(());
    };
    // In the order of the index, however little the planner knows: sorted, it would be the whole interval.
    transaction
        .batch_execute("SET LOCAL enable_sort = off")
        .await?;
    let (_, open) = log::parameters(seen);
    if from == seen.xmax() && !open.is_empty() {
        let open: [(&(dyn ToSql + Sync), Type); 1] = [(&open, Type::TEXT_ARRAY)];
        let row = transaction.query_typed_one(MEASURE_OPEN, &open).await?;
        bookmark.extent.add(row.get(0), row.get(1), row.get(2));
    }
    let (from, end) = (from.to_string(), to.xmax().to_string());
    let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&from, Type::TEXT), (&end, Type::TEXT)];
    let row = transaction
        .query_typed_one(&measure_later(), &parameters)
        .await?;
    let events: i64 = row.get(0);
    bookmark.extent.add(events, row.get(1), row.get(2));
    let last = row.get::<_, Option<Xid>>(3);
    transaction
        .batch_execute("SET LOCAL enable_sort = on")
        .await?;
    bookmark.unmeasured = last.filter(|_| events >= MEASURED).map(|Xid(xid)| xid + 1);
    Ok(())
}

/// Reads the next page of an interval that is measured.
async fn measured(
    transaction: &Transaction<'_>,
    seen: &Snapshot,
    to: &Snapshot,
    bookmark: Bookmark,
) -> Result<Page, SourceError> {
    let Bookmark {
        rows: limit,
        extent,
        ..
    } = bookmark;
    let by_ids = bookmark.goes_by_ids();
    let columns = Columns::ask(&**transaction).await?;
    let statement = format!(
        "{} FROM (SELECT e.* FROM bellwether.event e WHERE {} ORDER BY e.id LIMIT {limit}) e ORDER BY e.id",
        log::columns(columns.as_ref().map_or(Rows::Json, |_| Rows::Sent)),
        if by_ids { OF_MANY } else { OF_FEW }
    );
    let (xmax, open) = log::parameters(seen);
    let end = to.xmax().to_string();
    let (seen, to) = (seen.to_string(), to.to_string());
    let owed: Vec<(&(dyn ToSql + Sync), Type)> = if by_ids {
        vec![(&seen, Type::TEXT), (&to, Type::TEXT)]
    } else {
        vec![
            (&xmax, Type::TEXT),
            (&end, Type::TEXT),
            (&open, Type::TEXT_ARRAY),
            (&to, Type::TEXT),
        ]
    };

    let after = bookmark.after.max(extent.least.saturating_sub(1));
    let (mut width, greatest) = if by_ids {
        (limit, extent.greatest.min(after.saturating_add(MOST_IDS)))
    } else {
        (i64::MAX, extent.greatest)
    };
    let mut pieces = Pieces::default();
    let (mut count, mut through) = (0, after);
    while through < greatest {
        let (first, last) = (through + 1, through.saturating_add(width).min(greatest));
        let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> =
            vec![(&first, Type::INT8), (&last, Type::INT8)];
        parameters.extend(owed.iter().cloned());
        let mut rows = pin!(transaction.query_typed_raw(&statement, parameters).await?);
        let mut is_read = false;
        while count < limit && pieces.bytes < PAGE_BYTES {
            let Some(row) = rows.try_next().await? else {
                is_read = true;
                break;
            };
            count += 1;
            through = row.get(0);
            if let Some(event) = log::event(&row, columns.as_ref())? {
                pieces.push(event);
            }
        }
        if !is_read {
            break;
        }
        through = last;
        width = width.saturating_mul(GROWTH);
    }
    let is_last = through >= extent.greatest;
    Ok(Page {
        through,
        next: (!is_last).then(|| bookmark.turned(through, count, pieces.bytes)),
        pieces: pieces.pieces,
    })
}
