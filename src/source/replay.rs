//! Reading the log for a subscriber that is behind what the hub keeps in memory.
//!
//! The log is read page by page ([`super::page`]), two pages at the same time, and the other subscribers wait in a queue:
//!
//! - Whoever takes what it got at once keeps its turn for a while, so that most are done with one turn. If each had a page
//!   and queued again, nobody might ever be: all would fall behind by what is written meanwhile.
//! - Whoever does not, or has stopped, loses its turn a moment later, and keeps nobody waiting.
//! - What subscribers have been handed and have not taken is bounded together, and so is the queue. An operator is told
//!   of a long one.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Pool, PoolError};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::page::{self, Bookmark, Page};
use crate::cursor::Cursor;
use crate::hub::{Log, ReplayError, Replayed};
use crate::postgres::read::in_one_transaction;

/// How many pages may be read at the same time; the other subscribers wait their turn.
const READERS: usize = 2;

/// How long one subscriber may keep its turn while others wait.
const TURN: Duration = Duration::from_secs(10);

/// How long a turn is kept for a subscriber that is taking its page.
const KEPT: Duration = Duration::from_millis(250);

/// How many subscribers may have a page that they have not taken yet: 1 MiB each, and an event.
const MOST_HANDED: usize = 128;

/// How many may wait for their first page; whoever comes then has to come again.
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
    handed: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    complained: Occasion,
}

impl Queue {
    fn new(readers: usize, most_waiting: usize) -> Self {
        Self {
            handed: Arc::new(Semaphore::new(MOST_HANDED)),
            readers: Arc::new(Semaphore::new(readers)),
            waiting: AtomicUsize::new(0),
            most_waiting,
            complained: Occasion::default(),
        }
    }

    /// Waits until it may read and be handed what it reads, in the order of arrival. Whoever has read before goes on with the
    /// turn that it put aside, if that has not ended, and is not turned away.
    async fn turn(
        &self,
        before: Option<Hand>,
    ) -> Result<(OwnedSemaphorePermit, Turn), ReplayError> {
        let is_new = before.is_none();
        if let Some(hand) = before
            && let Some(turn) = hand.aside.take_up()
        {
            return Ok((hand.handed, turn));
        }
        let place = Place::take(&self.waiting);
        if place.number > self.most_waiting && is_new {
            let reason = format!(
                "{} subscribers wait for their turn already",
                self.most_waiting
            );
            return Err(ReplayError::Unavailable(reason.into()));
        }
        let began = Instant::now();
        let handed = self.handed.clone().acquire_owned().await;
        let reading = self.readers.clone().acquire_owned().await;
        if began.elapsed() >= LONG_WAIT && self.complained.is_due(COMPLAINT_INTERVAL) {
            tracing::info!(
                waiting = self.waiting.load(Ordering::Relaxed),
                readers = READERS,
                "subscribers wait for their turn to read the event log: their cursors are older than --ring-bytes reaches back"
            );
        }
        Ok((
            handed.map_err(unavailable)?,
            Turn::new(reading.map_err(unavailable)?),
        ))
    }
}

/// A page that has been handed out, and the turn that may go on after it.
struct Hand {
    handed: OwnedSemaphorePermit,
    aside: Aside,
}

/// The right to read.
#[derive(Debug)]
struct Turn {
    _permit: OwnedSemaphorePermit,
    until: Instant,
}

impl Turn {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Self {
            _permit: permit,
            until: Instant::now() + TURN,
        }
    }

    /// Puts it aside while the subscriber takes its page. It ends by itself unless it is taken up again soon.
    fn put_aside(self) -> Aside {
        let kept_until = self.until.min(Instant::now() + KEPT);
        let aside = Arc::new(Mutex::new(Some(self)));
        let kept = aside.clone();
        tokio::spawn(async move {
            sleep_until(kept_until).await;
            lock(&kept).take();
        });
        Aside(aside)
    }
}

/// A turn that may have ended.
struct Aside(Arc<Mutex<Option<Turn>>>);

impl Aside {
    fn take_up(&self) -> Option<Turn> {
        let turn = lock(&self.0).take();
        turn.filter(|turn| Instant::now() < turn.until)
    }
}

/// Whoever loses interest has had its turn.
impl Drop for Aside {
    fn drop(&mut self) {
        self.take_up();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that is done now and then, by whoever comes when it is due.
#[derive(Debug, Default)]
struct Occasion(Mutex<Option<Instant>>);

impl Occasion {
    /// Whether the last time is this long ago; then this is the last time.
    fn is_due(&self, interval: Duration) -> bool {
        let mut last = lock(&self.0);
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

    /// The next page of what `from` lacks and `to` has, once it is its turn.
    async fn page(
        self,
        from: Arc<Cursor>,
        to: Arc<Cursor>,
        bookmark: Bookmark,
        before: Option<Hand>,
    ) -> Result<(Page, Hand), ReplayError> {
        let (handed, turn) = self.queue.turn(before).await?;
        self.summarize().await;
        let reading = in_one_transaction(&self.pool, async |transaction| {
            Ok(page::read(transaction, &from.seen, &to.seen, bookmark).await)
        });
        let page = reading.await.map_err(unavailable)?.map_err(unavailable)?;
        let aside = turn.put_aside();
        Ok((page.ok_or(ReplayError::Trimmed)?, Hand { handed, aside }))
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
    ) -> BoxStream<'static, Result<Replayed, ReplayError>> {
        let log = self.clone();
        async_stream::try_stream! {
            let within = from.within.as_ref().filter(|within| within.to == to.seen);
            let mut next = Some(Bookmark::new(&from.seen, within.map(|within| within.last_id)));
            let mut hand = None;
            while let Some(bookmark) = next {
                // By a task of its own: nobody asks for what is read while the socket takes no more, and the turn must not
                // wait for that.
                let reading = log.clone().page(from.clone(), to.clone(), bookmark, hand.take());
                let reading = AbortOnDropHandle::new(tokio::spawn(reading));
                let (page, handed) = reading.await.map_err(unavailable)??;
                for mut events in page.pieces {
                    let last_id = events.last().map_or(0, |event| event.id);
                    events.retain(|event| !from.has(event.xid, event.id));
                    yield Replayed { events, last_id };
                }
                next = page.next;
                if next.is_some() {
                    yield Replayed { events: Vec::new(), last_id: page.through };
                }
                hand = Some(handed);
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
        let reading = queue.turn(None).await.expect("nobody was there");
        let mut second = Box::pin(queue.turn(None));
        let mut third = Box::pin(queue.turn(None));
        assert!((&mut second).now_or_never().is_none(), "waits");
        assert!((&mut third).now_or_never().is_none(), "waits");
        assert!(queue.turn(None).await.is_err(), "one too many");
        drop(reading);
        assert!(
            (&mut third).now_or_never().is_none(),
            "not before the second"
        );
        let reading = second.await.expect("its turn");
        drop(third);
        let mut fourth = Box::pin(queue.turn(None));
        assert!(
            (&mut fourth).now_or_never().is_none(),
            "a place is free again"
        );
        drop(reading);
        drop(fourth.await.expect("its turn"));
    }

    fn put_aside((handed, turn): (OwnedSemaphorePermit, Turn)) -> Hand {
        let aside = turn.put_aside();
        Hand { handed, aside }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_kept_for_one_who_comes_back_at_once_and_not_for_ever() {
        let queue = Queue::new(1, 2 * MOST_HANDED);
        let first = queue.turn(None).await.expect("nobody was there");
        // More than may have a page in hand.
        let mut others: Vec<_> = (0..MOST_HANDED)
            .map(|_| Box::pin(queue.turn(None)))
            .collect();
        for other in &mut others {
            assert!(other.now_or_never().is_none(), "waits");
        }
        let mut hand = put_aside(first);
        let began = Instant::now();
        while let Some(Ok(again)) = queue.turn(Some(hand)).now_or_never() {
            hand = put_aside(again);
            tokio::time::advance(KEPT / 2).await;
            tokio::task::yield_now().await;
            if began.elapsed() > 2 * TURN {
                break;
            }
        }
        assert!(began.elapsed() >= TURN, "it was at once each time");
        assert!(began.elapsed() <= 2 * TURN, "and came to an end");
        let second = others.swap_remove(0).await.expect("its turn");
        let hand = put_aside(second);
        tokio::time::sleep(KEPT * 2).await;
        assert!(hand.aside.take_up().is_none(), "it has not come back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_ends_also_for_one_who_never_waits() {
        let queue = Queue::new(1, 2);
        let (_, turn) = queue.turn(None).await.expect("nobody was there");
        let aside = turn.put_aside();
        // The task that would end it has not run.
        tokio::time::advance(TURN).await;
        assert!(aside.take_up().is_none());
    }

    #[tokio::test]
    async fn who_goes_away_keeps_no_turn() {
        let queue = Queue::new(1, 2);
        let first = queue.turn(None).await.expect("nobody was there");
        drop(put_aside(first));
        assert!(queue.turn(None).now_or_never().is_some(), "at once");
    }
}
