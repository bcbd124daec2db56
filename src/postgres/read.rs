//! What the HTTP API reads: pages, exports, single rows and histories.
//!
//! Rows come as the JSON that PostgreSQL makes of them, in UTC, and are passed on as they are: no number loses a digit
//! and a new column needs no code. Every read is one READ ONLY transaction with a bound on its time; nothing here waits
//! for ever for a database that is away.
//!
//! In reading order: [`tables`] says what can be listed and by what it is filtered, [`listing`] turns that into SQL with
//! [`position`] as the place where a page ends, [`single`] and [`mod@history`] read what belongs to one row,
//! [`mod@statistics`] counts, [`session`] bounds them all and [`error`] says what may go wrong.

mod columns;
mod error;
mod history;
mod listing;
mod position;
mod session;
mod single;
mod statistics;
mod tables;

use async_stream::try_stream;
use deadpool_postgres::Pool;
use futures::{Stream, TryStreamExt};
use tokio_postgres::{Row, types::ToSql};

pub(crate) use self::{
    error::ReadError,
    history::history,
    listing::{Listing, Order, Table},
    position::{DatabaseInstant, KeyKind, KeyPart, Position},
    session::{FIND_EVENTS_BY_INDEX, read as in_one_transaction},
    single::{health, operation, operation_exists},
    statistics::{StatisticsFilter, statistics},
    tables::{
        CONNECTIONS, ConnectionFilter, ERRORS, OPERATIONS, OperationFilter, SNAPSHOTS,
        SnapshotFilter, errors_of,
    },
};
use self::{listing::Statement, session::Settings};

/// Rows of the first piece of an export; later pieces are made to hold [`PIECE_BYTES`].
const FIRST_PIECE_ROWS: i32 = 50;
/// Most rows of a piece of an export.
const MOST_PIECE_ROWS: i32 = 2_000;
/// A page ends once its rows have this many bytes: rows may be of any size, and a page is held as a whole.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// How large a piece of an export is meant to be.
const PIECE_BYTES: usize = 256 * 1024;

/// Some rows of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// The rows, each a JSON object.
    pub(crate) rows: Vec<String>,
    /// Where the next page begins; `None` on the last.
    pub(crate) next: Option<Position>,
}

/// Reads at most `limit` rows after a position, and fewer where they are large. The cost does not depend on how far into
/// the list that is.
///
/// # Errors
/// Where the database is away, too slow, or refuses.
pub(crate) async fn page(
    pool: &Pool,
    listing: &Listing,
    after: Option<&Position>,
    limit: usize,
) -> Result<Page, ReadError> {
    let statement = listing.statement(after, Some(limit.saturating_add(1)));
    session::read(pool, async |transaction| {
        let rows = transaction.query_typed_raw(&statement.sql, statement.typed());
        let mut stream = std::pin::pin!(rows.await?);
        let (mut rows, mut bytes, mut last) = (Vec::new(), 0, None);
        while let Some(row) = stream.try_next().await? {
            if rows.len() == limit || bytes >= PAGE_BYTES {
                let next = last.as_ref().map(|last| listing.position(last));
                return Ok(Page {
                    rows,
                    next: next.transpose()?,
                });
            }
            let json = json_of(&row)?;
            bytes += json.len();
            rows.push(json);
            last = Some(row);
        }
        Ok(Page { rows, next: None })
    })
    .await
}

/// Reads a whole list, or its first `limit` rows after a position, as one state of the database: piece by piece through
/// a portal, so that neither side holds more than a piece. Dropping the stream ends the transaction.
///
/// While a piece is being sent the transaction is open; the server ends a session whose reader has stalled.
pub(crate) fn export(
    pool: Pool,
    listing: Listing,
    after: Option<Position>,
    limit: Option<usize>,
) -> impl Stream<Item = Result<Vec<String>, ReadError>> + Send + 'static {
    try_stream! {
        let Statement { sql, parameters } = listing.statement(after.as_ref(), limit);
        let mut session = session::open(&pool).await?;
        let transaction = session::begin(&mut session, Settings::Export).await?;
        let types: Vec<_> = parameters.iter().map(|parameter| parameter.kind()).collect();
        let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|parameter| parameter.value()).collect();
        let portal = session::bounded(Settings::Export, async {
            let statement = transaction.prepare_typed(&sql, &types).await?;
            transaction.bind(&statement, &values).await
        })
        .await?;
        let mut wanted = FIRST_PIECE_ROWS;
        loop {
            let piece = session::bounded(Settings::Export, async {
                transaction.query_portal(&portal, wanted).await
            })
            .await?;
            let is_last = piece.len() < usize::try_from(wanted).unwrap_or(usize::MAX);
            let rows: Vec<String> = piece.iter().map(json_of).collect::<Result<_, _>>()?;
            wanted = rows_that_fit(&rows);
            yield rows;
            if is_last {
                break;
            }
        }
    }
}

/// How many rows like these make a piece of the right size.
fn rows_that_fit(rows: &[String]) -> i32 {
    let bytes: usize = rows.iter().map(String::len).sum();
    let fitting = PIECE_BYTES.saturating_mul(rows.len()) / bytes.max(1);
    i32::try_from(fitting)
        .unwrap_or(MOST_PIECE_ROWS)
        .clamp(1, MOST_PIECE_ROWS)
}

/// The row as JSON: every statement here has it as its first column.
fn json_of(row: &Row) -> Result<String, ReadError> {
    Ok(row.try_get(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_an_export_grow_and_shrink_with_the_rows() {
        assert_eq!(rows_that_fit(&vec!["x".repeat(1024); 50]), 256);
        assert_eq!(rows_that_fit(&vec!["x".repeat(10 * PIECE_BYTES); 3]), 1);
        assert_eq!(rows_that_fit(&vec!["{}".to_owned(); 50]), MOST_PIECE_ROWS);
        assert_eq!(rows_that_fit(&[]), 1, "there is nothing more to fetch");
    }
}
