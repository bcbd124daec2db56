//! Reading the log: one statement that says what it saw and what a reader is owed.
//!
//! A look is a single READ ONLY statement in a READ COMMITTED transaction of its own, without a transaction id (one's
//! own id counts as visible). It returns the snapshot C that it read with even where there are no rows, so every event
//! belongs to exactly one interval between two looks.

use std::error::Error;
use std::pin::Pin;
use std::time::Instant;

use futures::TryStreamExt;
use tokio_postgres::types::{FromSql, PgLsn, ToSql, Type};
use tokio_postgres::{Client, Row, RowStream, Statement};

use super::alertness::Lease;
use super::operation::{Columns, RowError};
use super::{SourceError, SourceOptions, ground, patiently};
use crate::cursor::Snapshot;
use crate::event::{Event, Keys, LogRow, Payload};
use crate::postgres::config::DatabaseConfig;

/// An interval is handed on in pieces of at most this many bytes (and one event).
pub(super) const PIECE_BYTES: usize = 256 * 1024;

/// Where the WAL stood after the snapshot was taken.
const INSERTED: &str = "WITH wal AS MATERIALIZED (SELECT pg_current_wal_insert_lsn() AS inserted)";

/// What the statement saw: the first row, whatever ids events have.
const HEADER: &str = "SELECT -9223372036854775808 AS id, NULL::xid8, NULL::timestamptz, NULL::bigint, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL::json,
        pg_current_snapshot()::text, (SELECT inserted FROM wal), NULL::pg_lsn,
        transaction_timestamp(), (SELECT trimmed_through FROM bellwether.log),
        coalesce(pg_sequence_last_value('bellwether.lease'::regclass), 0), (date_part('epoch', clock_timestamp()) * 1000)::bigint, NULL::bytea";

/// What a reader that has P is owed, as far as it is visible: $1 is the xmax of P, $2 its in-progress transactions.
fn owed(rows: Rows) -> String {
    let columns = columns(rows);
    format!(
        "{columns} FROM bellwether.event e WHERE (e.xid >= $1::text::xid8 OR e.xid = ANY ($2::text[]::xid8[]))"
    )
}

/// What is read of each event `e`.
pub(super) fn columns(rows: Rows) -> String {
    let (json, sent) = match rows {
        Rows::Json => (
            "coalesce(e.payload, bellwether.row_in_utc(e.operation))",
            "NULL::bytea",
        ),
        Rows::Sent => ("e.payload", "record_send(e.operation)"),
    };
    format!(
        "SELECT e.id, e.xid, e.at, e.revision, e.topic, e.type, e.entity, {CHANGED_FROM}, {json}, NULL, NULL, NULL, NULL, NULL, NULL, NULL, {sent}"
    )
}

/// The values before the change of what it moved: an owner or a source that was none is empty.
const CHANGED_FROM: &str = "e.changed_from ->> 'status',
            CASE WHEN e.changed_from ? 'owner' THEN coalesce(e.changed_from ->> 'owner', '') END,
            e.changed_from ->> 'operation_type',
            CASE WHEN e.changed_from ? 'source' THEN coalesce(e.changed_from ->> 'source', '') END";

/// How the log's rows of `bellwether.operation` are asked for.
#[derive(Clone, Copy)]
pub(super) enum Rows {
    /// Turned into JSON by the server, whatever the session's settings are.
    Json,
    /// As they are, for [`Columns::read`].
    Sent,
}

/// How far the WAL was flushed once all events had been found: the last row, since no event has the greatest id. Under
/// load others have mostly flushed by then what was not when the look began.
const TRAILER: &str =
    "SELECT 9223372036854775807, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, pg_current_wal_flush_lsn(), NULL, NULL, NULL, NULL, NULL";

/// Only what is visible in a fixed snapshot ($3), and of that what comes after an id ($4).
const WITHIN: &str =
    "AND pg_visible_in_snapshot(e.xid, $3::text::pg_snapshot) AND e.id > $4::bigint";

/// The session that looks.
pub(super) struct Reader {
    pub(super) client: Client,
    /// Planned once, since looks are many; none behind a transaction pooler, where it would be lost.
    look: Option<Statement>,
    /// What a row has; none where rows come as JSON.
    columns: Option<Columns>,
}

/// Opens the session that looks. Its statements must find the few new rows by the index whatever the planner knows.
///
/// A session that was given up must not go on sorting for nobody, nor wait for a lock that somebody keeps. Behind a
/// transaction pooler nothing can be set: there the planner has to know.
///
/// Connecting has a time limit of its own, which leaves room for several hosts.
pub(super) async fn connect(
    config: &DatabaseConfig,
    options: &SourceOptions,
) -> Result<Reader, SourceError> {
    let (client, connection) = config.connect("bellwether reader").await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &error as &dyn Error, "the reading session failed");
        }
    });
    if config.is_pooled() {
        return Ok(Reader {
            client,
            look: None,
            columns: None,
        });
    }
    let settings = format!(
        "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET default_transaction_read_only = on;
         SET lock_timeout = {}; SET client_connection_check_interval = '2s'",
        options.patience.as_millis().max(1)
    );
    let preparing = async {
        client.batch_execute(&settings).await?;
        let columns = Columns::ask(&client).await?;
        let rows = columns.as_ref().map_or(Rows::Json, |_| Rows::Sent);
        let types = [Type::TEXT, Type::TEXT_ARRAY];
        let look = client.prepare_typed(&everything_owed(rows), &types).await;
        Ok((look.map_err(ground::explain)?, columns))
    };
    let (look, columns) = patiently(options, preparing).await?;
    Ok(Reader {
        client,
        look: Some(look),
        columns,
    })
}

fn everything_owed(rows: Rows) -> String {
    let owed = owed(rows);
    format!("{INSERTED} {HEADER} UNION ALL {owed} UNION ALL {TRAILER} ORDER BY id")
}

/// Reads everything visible now that a reader at `seen` lacks.
pub(super) async fn look<'a>(reader: &'a Reader, seen: &Snapshot) -> Result<Look<'a>, SourceError> {
    let client = &reader.client;
    match &reader.look {
        Some(statement) => {
            let (xmax, open) = parameters(seen);
            let parameters: [&(dyn ToSql + Sync); 2] = [&xmax, &open];
            let began = Instant::now();
            let rows = client.query_raw(statement, parameters).await?;
            Look::begin(began, rows, reader.columns.as_ref()).await
        }
        None => ask(client, &everything_owed(Rows::Json), seen, &[]).await,
    }
}

/// Reads what is visible in `to`, has an id above `after` and is lacked by a reader at `seen`.
pub(super) async fn interval(
    client: &Client,
    seen: &Snapshot,
    to: &Snapshot,
    after: i64,
) -> Result<Look<'static>, SourceError> {
    let owed = owed(Rows::Json);
    let statement = format!("{INSERTED} {HEADER} UNION ALL {owed} {WITHIN} ORDER BY id");
    let text = to.to_string();
    let more: [(&(dyn ToSql + Sync), Type); 2] = [(&text, Type::TEXT), (&after, Type::INT8)];
    let mut look = ask(client, &statement, seen, &more).await?;
    look.header.snapshot = to.clone();
    look.header.as_of = None;
    Ok(look)
}

/// Asks without anything that would stay in the session: one message there and one back.
async fn ask(
    client: &Client,
    statement: &str,
    seen: &Snapshot,
    more: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Look<'static>, SourceError> {
    let (xmax, open) = parameters(seen);
    let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> =
        vec![(&xmax, Type::TEXT), (&open, Type::TEXT_ARRAY)];
    parameters.extend(more.iter().cloned());
    let began = Instant::now();
    let rows = client.query_typed_raw(statement, parameters).await?;
    Look::begin(began, rows, None).await
}

/// What [`owed`] takes.
pub(super) fn parameters(seen: &Snapshot) -> (String, Vec<String>) {
    let open = seen.in_progress().iter().map(u64::to_string).collect();
    (seen.xmax().to_string(), open)
}

/// What a look saw, and the events still to come.
pub(super) struct Look<'a> {
    pub(super) header: Header,
    /// When it was sent: what it saw is at most this old.
    pub(super) began: Instant,
    rows: Pin<Box<RowStream>>,
    columns: Option<&'a Columns>,
    held: Option<Event>,
    /// Known once the interval has been read to its end.
    flush_lsn: Option<PgLsn>,
}

/// What a look saw.
pub(super) struct Header {
    /// Everything visible in this snapshot has been read once the look ends.
    pub(super) snapshot: Snapshot,
    /// Where the WAL stood after the snapshot was taken.
    pub(super) insert_lsn: PgLsn,
    /// The database's clock before the snapshot was taken; none where the snapshot is an older one.
    pub(super) as_of: Option<String>,
    /// No event up to this transaction is kept.
    pub(super) trimmed_through: u64,
    /// The relays' promise to look often, after the snapshot was taken: while it runs, writers are silent.
    pub(super) lease: Lease,
}

/// Some events of an interval, in order.
pub(super) struct Piece {
    pub(super) events: Vec<Event>,
    pub(super) is_last: bool,
}

impl<'a> Look<'a> {
    async fn begin(
        began: Instant,
        rows: RowStream,
        columns: Option<&'a Columns>,
    ) -> Result<Self, SourceError> {
        let mut rows = Box::pin(rows);
        let header = rows.try_next().await?.ok_or(SourceError::NoLog)?;
        let header = Header {
            snapshot: Snapshot::parse(header.get(12))?,
            insert_lsn: header.get(13),
            as_of: Some(header.get::<_, jiff::Timestamp>(15).to_string()),
            trimmed_through: header
                .get::<_, Option<Xid>>(16)
                .ok_or(SourceError::NoLog)?
                .0,
            lease: Lease::at(header.get(17), header.get(18)),
        };
        Ok(Self {
            header,
            began,
            rows,
            columns,
            held: None,
            flush_lsn: None,
        })
    }

    /// Whether everything that was read is known to be durable.
    pub(super) fn is_flushed(&self) -> bool {
        self.flush_lsn
            .is_some_and(|flushed| flushed >= self.header.insert_lsn)
    }

    /// The next events, a bounded amount of them; `is_last` with the end of the interval.
    pub(super) async fn next_piece(&mut self) -> Result<Piece, SourceError> {
        let mut events: Vec<Event> = self.held.take().into_iter().collect();
        let mut bytes = events.iter().map(Event::size).sum::<usize>();
        while let Some(row) = self.rows.try_next().await? {
            if let Some(flushed) = row.get(14) {
                self.flush_lsn = Some(flushed);
                continue;
            }
            let Some(event) = event(&row, self.columns)? else {
                continue;
            };
            bytes += event.size();
            if bytes > PIECE_BYTES && !events.is_empty() {
                self.held = Some(event);
                return Ok(Piece {
                    events,
                    is_last: false,
                });
            }
            events.push(event);
        }
        Ok(Piece {
            events,
            is_last: true,
        })
    }
}

/// Reads one row of [`columns`]; none where it cannot be read. It was written by a newer schema then, or by hand, and one
/// row must not keep all that follow from everybody.
///
/// # Errors
/// Where the columns are others now, which are to be asked for again.
pub(super) fn event(row: &Row, columns: Option<&Columns>) -> Result<Option<Event>, SourceError> {
    match read_event(row, columns) {
        Ok(event) => Ok(Some(event)),
        Err(SourceError::Operation(RowError::OtherColumns)) => Err(RowError::OtherColumns.into()),
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "an event was left out");
            Ok(None)
        }
    }
}

/// What somebody has put there by hand may be of any kind: an instant of `infinity`.
fn read_event(row: &Row, columns: Option<&Columns>) -> Result<Event, SourceError> {
    let key =
        |column| Ok::<_, SourceError>(row.try_get::<_, Option<&str>>(column)?.map(Into::into));
    let at = row.try_get::<_, jiff::Timestamp>(2)?.to_string();
    let sent = row.try_get::<_, Option<&[u8]>>(19)?;
    let payload = match columns.zip(sent) {
        Some((columns, sent)) => {
            let (data, keys) = columns.read(sent)?;
            Payload::Read(data, keys)
        }
        None => Payload::Json(row.try_get::<_, Json<'_>>(11)?.0),
    };
    Ok(Event::new(LogRow {
        id: row.try_get(0)?,
        xid: row.try_get::<_, Xid>(1)?.0,
        at: &at,
        revision: row.try_get(3)?,
        topic: row.try_get(4)?,
        kind: row.try_get(5)?,
        entity: row.try_get(6)?,
        old: Keys {
            status: key(7)?,
            owner: key(8)?,
            operation_type: key(9)?,
            source: key(10)?,
        },
        payload,
    })?)
}

/// The text of a `json`, as PostgreSQL sends it.
struct Json<'a>(&'a str);

impl<'a> FromSql<'a> for Json<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSON
    }
}

/// A transaction id, as PostgreSQL sends an `xid8`.
pub(super) struct Xid(pub(super) u64);

impl<'a> FromSql<'a> for Xid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(u64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::XID8
    }
}
