//! Whose turn it is to read the log for a subscriber that is behind memory.
//!
//! Two pages are read at the same time, and the other subscribers wait in a queue:
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

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::hub::ReplayError;

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

/// Those who read, and those who wait for it.
#[derive(Debug)]
pub(super) struct Queue {
    handed: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    complained: Occasion,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self::with(READERS, MOST_WAITING)
    }

    fn with(readers: usize, most_waiting: usize) -> Self {
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
    pub(super) async fn turn(&self, before: Option<Hand>) -> Result<Turn, ReplayError> {
        let is_new = before.is_none();
        if let Some(turn) = before.and_then(Hand::take_up) {
            return Ok(turn);
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
        Ok(Turn {
            handed: handed.map_err(unavailable)?,
            reading: Reading {
                _permit: reading.map_err(unavailable)?,
                until: Instant::now() + TURN,
            },
        })
    }
}

/// The right to read a page, and to be handed it.
#[derive(Debug)]
pub(super) struct Turn {
    handed: OwnedSemaphorePermit,
    reading: Reading,
}

#[derive(Debug)]
struct Reading {
    _permit: OwnedSemaphorePermit,
    until: Instant,
}

/// A page in hand, and what is left of the turn. Whoever drops it has had its turn.
#[derive(Debug)]
pub(super) struct Hand {
    handed: OwnedSemaphorePermit,
    aside: Aside,
}

#[derive(Debug)]
struct Aside(Arc<Mutex<Option<Reading>>>);

impl Turn {
    /// Puts it aside while the subscriber takes its page. It ends by itself unless it is taken up again soon.
    pub(super) fn put_aside(self) -> Hand {
        let kept_until = self.reading.until.min(Instant::now() + KEPT);
        let aside = Arc::new(Mutex::new(Some(self.reading)));
        let kept = aside.clone();
        tokio::spawn(async move {
            sleep_until(kept_until).await;
            lock(&kept).take();
        });
        Hand {
            handed: self.handed,
            aside: Aside(aside),
        }
    }
}

impl Hand {
    fn take_up(self) -> Option<Turn> {
        let reading = self.aside.take()?;
        Some(Turn {
            handed: self.handed,
            reading,
        })
    }
}

impl Aside {
    fn take(&self) -> Option<Reading> {
        let reading = lock(&self.0).take();
        reading.filter(|reading| Instant::now() < reading.until)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.take();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Something that is done now and then, by whoever comes when it is due.
#[derive(Debug, Default)]
pub(super) struct Occasion(Mutex<Option<Instant>>);

impl Occasion {
    /// Whether the last time is this long ago; then this is the last time.
    pub(super) fn is_due(&self, interval: Duration) -> bool {
        let mut last = lock(&self.0);
        let is_due = last.is_none_or(|last| last.elapsed() >= interval);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// The log cannot be read for this subscriber now.
pub(super) fn unavailable(error: impl Error + Send + Sync + 'static) -> ReplayError {
    ReplayError::Unavailable(error.into())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_comes_first_reads_first_and_the_queue_has_an_end() {
        let queue = Queue::with(1, 2);
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

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_kept_for_one_who_comes_back_at_once_and_not_for_ever() {
        let queue = Queue::with(1, 2 * MOST_HANDED);
        let first = queue.turn(None).await.expect("nobody was there");
        // More than may have a page in hand.
        let mut others: Vec<_> = (0..MOST_HANDED)
            .map(|_| Box::pin(queue.turn(None)))
            .collect();
        for other in &mut others {
            assert!(other.now_or_never().is_none(), "waits");
        }
        let mut hand = first.put_aside();
        let began = Instant::now();
        while let Some(Ok(again)) = queue.turn(Some(hand)).now_or_never() {
            hand = again.put_aside();
            tokio::time::advance(KEPT / 2).await;
            tokio::task::yield_now().await;
            if began.elapsed() > 2 * TURN {
                break;
            }
        }
        assert!(began.elapsed() >= TURN, "it was at once each time");
        assert!(began.elapsed() <= 2 * TURN, "and came to an end");
        let second = others.swap_remove(0).await.expect("its turn");
        let hand = second.put_aside();
        tokio::time::sleep(KEPT * 2).await;
        assert!(hand.take_up().is_none(), "it has not come back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_ends_also_for_one_who_never_waits() {
        let queue = Queue::with(1, 2);
        let turn = queue.turn(None).await.expect("nobody was there");
        let hand = turn.put_aside();
        // The task that would end it has not run.
        tokio::time::advance(TURN).await;
        assert!(hand.take_up().is_none());
    }

    #[tokio::test]
    async fn who_goes_away_keeps_no_turn() {
        let queue = Queue::with(1, 2);
        let first = queue.turn(None).await.expect("nobody was there");
        drop(first.put_aside());
        assert!(queue.turn(None).now_or_never().is_some(), "at once");
    }
}
