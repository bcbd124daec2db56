//! A whole list as a download: read, encoded and sent piece by piece, so that a million rows take no more memory than a
//! few hundred.
//!
//! A task reads and hands the pieces over a queue of one. So a client that has stalled can be given up: a body's own
//! polling would keep the session and the snapshot of the database for it for ever. The queue says expressly that it
//! is done; if it ends without, the body ends with an error, the connection is cut, and no client takes half a list
//! for a whole one.

use std::error::Error;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use warp::Reply;
use warp::http::{HeaderValue, header};
use warp::reply::Response;

use super::csv;
use super::format::Format;
use crate::http::encoding::{Encoding, GzipStream};
use crate::http::problem::Problem;
use crate::postgres::read::{self, Listing, Position, ReadError, Table};

/// A client that takes nothing for this long is given up.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// When to come again where too many exports run.
const RETRY_AFTER: Duration = Duration::from_secs(10);

type Pieces = Pin<Box<dyn Stream<Item = Result<Vec<String>, ReadError>> + Send>>;

/// What the task hands to the body.
enum Part {
    Piece(Bytes),
    End,
}

/// Why a download was cut off. The reason is in the relay's log.
#[derive(Debug, thiserror::Error)]
#[error("the export could not be finished")]
struct Interrupted;

/// The exports that may run at the same time: each holds a session of the pool.
#[derive(Clone, Debug)]
pub(super) struct Exports(Arc<Semaphore>);

impl Exports {
    /// Leaves half of the pool to everyone else.
    pub(super) fn for_pool(pool: &deadpool_postgres::Pool) -> Self {
        Self(Arc::new(Semaphore::new(
            (pool.status().max_size / 2).max(1),
        )))
    }

    fn begin(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.0.clone().try_acquire_owned().map_err(|_| {
            Problem::passing("as many exports run as may; try again later", RETRY_AFTER)
        })
    }
}

/// Answers with a list as a file.
///
/// # Errors
/// Where too many run or the first piece cannot be read; later nothing can be told but by cutting the connection.
pub(super) async fn respond(
    exports: &Exports,
    pool: deadpool_postgres::Pool,
    listing: Listing,
    after: Option<Position>,
    limit: Option<usize>,
    format: Format,
    gzip: bool,
) -> Result<Response, Problem> {
    let permit = exports.begin()?;
    let table = listing.table;
    let mut pieces: Pieces = Box::pin(read::export(pool, listing, after, limit));
    let first = pieces.next().await.unwrap_or_else(|| Ok(Vec::new()))?;
    let pieces = Box::pin(stream::once(async { Ok(first) }).chain(pieces));
    let (sender, receiver) = mpsc::channel(1);
    let sending = Sending {
        format,
        table,
        gzip: gzip.then(GzipStream::new),
        stall_limit: STALL_LIMIT,
        _permit: permit,
    };
    tokio::spawn(sending.run(pieces, sender));
    let mut response = warp::reply::stream(body(receiver)).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(format.media_type()),
    );
    headers.insert(
        header::CONTENT_DISPOSITION,
        disposition(table, format, Timestamp::now()),
    );
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if gzip {
        let name = HeaderValue::from_static(Encoding::Gzip.name());
        headers.insert(header::CONTENT_ENCODING, name);
    }
    Ok(response)
}

/// What the file is called: `operations-20261121T050135Z.csv`.
fn disposition(table: &Table, format: Format, now: Timestamp) -> HeaderValue {
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    let value = format!(
        r#"attachment; filename="{}-{time}.{}""#,
        table.name,
        format.ending()
    );
    HeaderValue::try_from(value).expect("plain characters")
}

/// The body: ends well only after [`Part::End`].
fn body(
    mut receiver: mpsc::Receiver<Part>,
) -> impl Stream<Item = Result<Bytes, Interrupted>> + Send + Sync {
    let mut is_over = false;
    stream::poll_fn(move |context| {
        if is_over {
            return None.into();
        }
        let part = ready!(receiver.poll_recv(context));
        is_over = !matches!(part, Some(Part::Piece(_)));
        match part {
            Some(Part::Piece(bytes)) => Some(Ok(bytes)),
            Some(Part::End) => None,
            None => Some(Err(Interrupted)),
        }
        .into()
    })
}

/// The task of one export.
struct Sending {
    format: Format,
    table: &'static Table,
    /// Compresses the pieces, where the client takes that.
    gzip: Option<GzipStream>,
    /// How long the client may take nothing.
    stall_limit: Duration,
    /// Given back when the task ends.
    _permit: OwnedSemaphorePermit,
}

impl Sending {
    /// Reads, encodes and hands over, until all is sent, something fails or the client is gone.
    async fn run(mut self, pieces: Pieces, sender: mpsc::Sender<Part>) {
        let mut pieces = pieces.fuse();
        let mut is_first = true;
        loop {
            let piece = tokio::select! {
                () = sender.closed() => return,
                piece = pieces.next() => piece,
            };
            let part = match piece {
                Some(Ok(rows)) => encode(self.format, self.table, &rows, mem::take(&mut is_first))
                    .map(|plain| Part::Piece(self.compressed(plain)))
                    .map_err(|error| Box::new(error) as Box<dyn Error + Send + Sync>),
                Some(Err(error)) => Err(error.into()),
                None => match self.gzip.take() {
                    Some(mut gzip) => Ok(Part::Piece(gzip.end().into())),
                    None => Ok(Part::End),
                },
            };
            let part = match part {
                Ok(part) => part,
                Err(error) => {
                    let error = &*error as &dyn Error;
                    tracing::warn!(list = self.table.name, error, "an export was cut off");
                    return;
                }
            };
            let is_last = matches!(part, Part::End);
            match timeout(self.stall_limit, sender.send(part)).await {
                Ok(Ok(())) if !is_last => {}
                Ok(_) => return,
                Err(_) => {
                    let stalled_for = self.stall_limit;
                    tracing::info!(
                        list = self.table.name,
                        ?stalled_for,
                        "an export was cut off: its client takes nothing"
                    );
                    return;
                }
            }
        }
    }
}

impl Sending {
    /// A piece as it is sent. Each can be read as it comes; the compressor keeps no more than its window.
    fn compressed(&mut self, plain: Bytes) -> Bytes {
        match &mut self.gzip {
            Some(gzip) => gzip.piece(&plain).into(),
            None => plain,
        }
    }
}

fn encode(
    format: Format,
    table: &Table,
    rows: &[String],
    is_first: bool,
) -> Result<Bytes, ::csv::Error> {
    let mut out = Vec::with_capacity(rows.iter().map(|row| row.len() + 1).sum());
    if format == Format::Csv {
        if is_first {
            csv::write_header(table.columns, &mut out)?;
        }
        csv::write_rows(table.columns, rows, &mut out)?;
    } else {
        for row in rows {
            out.extend(row.as_bytes());
            out.push(b'\n');
        }
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::read::OPERATIONS;

    async fn received(parts: Vec<Part>) -> Vec<Result<Bytes, Interrupted>> {
        let (sender, receiver) = mpsc::channel(parts.len().max(1));
        for part in parts {
            sender.try_send(part).expect("room");
        }
        drop(sender);
        body(receiver).collect().await
    }

    #[tokio::test]
    async fn a_body_ends_well_only_if_it_was_told_so() {
        let piece = || Part::Piece(Bytes::from_static(b"x"));
        let whole = received(vec![piece(), Part::End]).await;
        assert!(matches!(&whole[..], [Ok(_)]));
        let half = received(vec![piece()]).await;
        assert!(matches!(&half[..], [Ok(_), Err(Interrupted)]));
    }

    fn sending(limit: &Arc<Semaphore>, stall_limit: Duration) -> Sending {
        let permit = limit.clone().try_acquire_owned().expect("a permit");
        Sending {
            format: Format::Ndjson,
            table: &OPERATIONS,
            gzip: None,
            stall_limit,
            _permit: permit,
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up_and_another_may_export() {
        let limit = Arc::new(Semaphore::new(1));
        let endless: Pieces = Box::pin(stream::repeat_with(|| Ok(vec!["{}".to_owned()])));
        let (sender, receiver) = mpsc::channel(1);
        sending(&limit, Duration::from_millis(1))
            .run(endless, sender)
            .await;
        assert_eq!(limit.available_permits(), 1);
        let parts: Vec<_> = body(receiver).collect().await;
        assert!(matches!(&parts[..], [Ok(_), Err(Interrupted)]));
    }

    #[tokio::test]
    async fn an_export_ends_when_its_client_is_gone() {
        let limit = Arc::new(Semaphore::new(1));
        let silent: Pieces = Box::pin(stream::pending());
        let (sender, receiver) = mpsc::channel(1);
        drop(receiver);
        sending(&limit, STALL_LIMIT).run(silent, sender).await;
        assert_eq!(limit.available_permits(), 1);
    }

    #[tokio::test]
    async fn an_export_that_fails_half_way_does_not_look_whole() {
        let failing: Pieces = Box::pin(stream::iter([
            Ok(vec!["{}".to_owned()]),
            Err(ReadError::TooSlow(STALL_LIMIT)),
        ]));
        let (sender, receiver) = mpsc::channel(4);
        sending(&Arc::new(Semaphore::new(1)), STALL_LIMIT)
            .run(failing, sender)
            .await;
        let parts: Vec<_> = body(receiver).collect().await;
        assert!(matches!(&parts[..], [Ok(_), Err(Interrupted)]));
    }

    #[test]
    fn a_file_is_named_by_what_and_when() {
        let now = "2026-11-21T05:01:35Z".parse().expect("an instant");
        assert_eq!(
            disposition(&OPERATIONS, Format::Csv, now),
            r#"attachment; filename="operations-20261121T050135Z.csv""#
        );
    }
}
