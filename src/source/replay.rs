//! Reading the log for a subscriber that is behind what the hub keeps in memory.
//!
//! The log is read page by page ([`super::page`]). Two pages are read at the same time and the other subscribers wait in a
//! queue, whoever has had a page behind them: so one that is slow to take what it got, or has stopped, keeps nobody
//! waiting, and however far back it was, the others get on. The queue has a bound, and an operator is told of a long one.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Pool, PoolError};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::page::{self, Bookmark, Page};
use crate::cursor::Cursor;
use crate::event::Event;
use crate::hub::{Log, ReplayError};
use crate::postgres::read::in_one_transaction;

/// How many pages may be read at the same time; the other subscribers wait their turn.
const READERS: usize = 2;

/// How many may wait; whoever comes then has to come again.
const MOST_WAITING: usize = 1_000;

/// Who waits for longer than this is worth a word in the relay's log.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// How often it is logged that somebody waits.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// How often what writers have added to the log is made known to its index on ids while pages are read. Until then each
/// page scans it; a relay's jobs do it every minute.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(1);
/// How long that may take.
const SUMMARY_LIMIT: Duration = Duration::from_secs(2);

/// The event log, read through the pool.
#[derive(Clone, Debug)]
pub struct ReplayLog {
    pool: Pool,
    queue: Arc<Queue>,
    summarized: Arc<Occasion>,
}

/// Those who read, and those who wait for it.
#[derive(Debug)]
struct Queue {
    readers: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
    complained: Occasion,
}

impl Queue {
    fn new(readers: usize, most_waiting: usize) -> Self {
        Self {
            readers: Semaphore::new(readers),
            waiting: AtomicUsize::new(0),
            most_waiting,
            complained: Occasion::default(),
        }
    }

    /// Waits until it may read, in the order of arrival; it may as long as the permit is kept.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, ReplayError> {
        if let Ok(turn) = self.readers.try_acquire() {
            return Ok(turn);
        }
        let place = Place::take(&self.waiting);
        if place.number > self.most_waiting {
            let reason = format!(
                "{} subscribers wait for their turn already",
                self.most_waiting
            );
            return Err(ReplayError::Unavailable(reason.into()));
        }
        let began = Instant::now();
        let turn = self.readers.acquire().await.map_err(unavailable)?;
        if began.elapsed() >= LONG_WAIT && self.complained.is_due(COMPLAINT_INTERVAL) {
            tracing::info!(
                waiting = self.waiting.load(Ordering::Relaxed),
                readers = READERS,
                "subscribers wait for their turn to read the event log: their cursors are older than --ring-bytes reaches back"
            );
        }
        Ok(turn)
    }
}

/// Something that is done now and then, by whoever comes when it is due.
#[derive(Debug, Default)]
struct Occasion(Mutex<Option<Instant>>);

impl Occasion {
    /// Whether the last time is this long ago; then this is the last time.
    fn is_due(&self, interval: Duration) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= interval);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// A place among those who wait; given back when it is dropped.
struct Place<'a> {
    waiting: &'a AtomicUsize,
    number: usize,
}

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Self {
        let number = waiting.fetch_add(1, Ordering::Relaxed) + 1;
        Self { waiting, number }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ReplayLog {
    /// Reads through the pool, with a few of its sessions at most.
    pub fn new(pool: Pool) -> Self {
        Self {
            pool,
            queue: Arc::new(Queue::new(READERS, MOST_WAITING)),
            summarized: Arc::default(),
        }
    }

    /// The next page of what `from` lacks and `to` has.
    async fn page(
        &self,
        from: &Cursor,
        to: &Cursor,
        bookmark: Bookmark,
    ) -> Result<Page, ReplayError> {
        let _turn = self.queue.turn().await?;
        self.summarize().await;
        let reading = in_one_transaction(&self.pool, async |transaction| {
            Ok(page::read(transaction, &from.seen, &to.seen, bookmark).await)
        });
        let page = reading.await.map_err(unavailable)?.map_err(unavailable)?;
        if from.oldest_unseen() <= page.trimmed_through {
            return Err(ReplayError::Trimmed);
        }
        Ok(page)
    }

    /// Makes pages cheap, now and then. They are right without it.
    async fn summarize(&self) {
        if !self.summarized.is_due(SUMMARY_INTERVAL) {
            return;
        }
        let summarizing = async {
            let client = self.pool.get().await?;
            client
                .execute_typed("SELECT bellwether.summarize_event_index()", &[])
                .await?;
            Ok::<_, PoolError>(())
        };
        if let Ok(Err(error)) = timeout(SUMMARY_LIMIT, summarizing).await {
            tracing::debug!(
                error = &error as &dyn Error,
                "the event log's index is not up to date"
            );
        }
    }
}

impl Log for ReplayLog {
    fn replay(
        &self,
        from: Arc<Cursor>,
        to: Arc<Cursor>,
    ) -> BoxStream<'static, Result<Vec<Event>, ReplayError>> {
        let log = self.clone();
        async_stream::try_stream! {
            let within = from.within.as_ref().filter(|within| within.to == to.seen);
            let mut next = Some(Bookmark::after(within.map(|within| within.last_id)));
            while let Some(bookmark) = next {
                let page = log.page(&from, &to, bookmark).await?;
                for mut piece in page.pieces {
                    piece.retain(|event| !from.has(event.xid, event.id));
                    if !piece.is_empty() {
                        yield piece;
                    }
                }
                next = page.next;
            }
        }
        .boxed()
    }
}

fn unavailable(error: impl Error + Send + Sync + 'static) -> ReplayError {
    ReplayError::Unavailable(error.into())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_comes_first_reads_first_and_the_queue_has_an_end() {
        let queue = Queue::new(1, 2);
        let reading = queue.turn().await.expect("nobody was there");
        let mut second = Box::pin(queue.turn());
        let mut third = Box::pin(queue.turn());
        assert!((&mut second).now_or_never().is_none(), "waits");
        assert!((&mut third).now_or_never().is_none(), "waits");
        assert!(queue.turn().await.is_err(), "one too many");
        drop(reading);
        assert!(
            (&mut third).now_or_never().is_none(),
            "not before the second"
        );
        let reading = second.await.expect("its turn");
        drop(third);
        let mut fourth = Box::pin(queue.turn());
        assert!(
            (&mut fourth).now_or_never().is_none(),
            "a place is free again"
        );
        drop(reading);
        drop(fourth.await.expect("its turn"));
    }
}
