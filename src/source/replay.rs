//! Reading the log for a subscriber that is behind what the hub keeps in memory.
//!
//! A few read at the same time, and the others wait in a queue of connections: each of them asks for one subscription
//! after the other. The queue has a bound, and an operator is told that there is one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::log;
use crate::cursor::Cursor;
use crate::event::Event;
use crate::hub::{Log, ReplayError};

/// How many subscribers may be reading the log at the same time; the others wait their turn.
const READERS: usize = 2;

/// How many may wait; whoever comes then has to come again.
const MOST_WAITING: usize = 1_000;

/// How often it is logged that somebody waits.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// How long one subscriber may keep its turn, however slowly it takes what it asked for; then it has to come again, and
/// goes on where it was.
const TURN: Duration = Duration::from_secs(60);

/// The new rows are found by the index whatever the planner knows.
const BEGIN: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY; SET LOCAL enable_seqscan = off";

/// The event log, read through the pool.
#[derive(Clone, Debug)]
pub struct ReplayLog {
    pool: Pool,
    queue: Arc<Queue>,
}

/// Those who read, and those who wait for it.
#[derive(Debug)]
struct Queue {
    readers: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
    complained: Mutex<Option<Instant>>,
}

impl Queue {
    fn new(readers: usize, most_waiting: usize) -> Self {
        Self {
            readers: Semaphore::new(readers),
            waiting: AtomicUsize::new(0),
            most_waiting,
            complained: Mutex::default(),
        }
    }

    /// Waits until it may read, in the order of arrival; it may as long as the permit is kept.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, ReplayError> {
        if let Ok(turn) = self.readers.try_acquire() {
            return Ok(turn);
        }
        let place = Place::take(&self.waiting);
        if place.number > self.most_waiting {
            return Err(ReplayError::Unavailable(format!(
                "{} subscribers wait for their turn already",
                self.most_waiting
            )));
        }
        self.complain(place.number);
        self.readers.acquire().await.map_err(unavailable)
    }

    fn complain(&self, waiting: usize) {
        let mut complained = self
            .complained
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL) {
            *complained = Some(Instant::now());
            tracing::info!(
                waiting,
                readers = READERS,
                "subscribers wait for their turn to read the event log: their cursors are older than --ring-bytes reaches back"
            );
        }
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
            let _turn = log.queue.turn().await?;
            // A database that does not answer must not keep the turn for ever.
            let until = Instant::now() + TURN;
            let client = timeout_at(until, log.pool.get()).await.map_err(too_long)?.map_err(unavailable)?;
            // Detached from the pool: dropping it, also half-way, ends the session and with it the transaction.
            let client = deadpool_postgres::Object::take(client);
            timeout_at(until, client.batch_execute(BEGIN)).await.map_err(too_long)?.map_err(unavailable)?;
            let after = from.within.as_ref().filter(|within| within.to == to.seen).map_or(0, |within| within.last_id);
            let looking = timeout_at(until, log::interval(&client, &from.seen, &to.seen, after));
            let mut look = looking.await.map_err(too_long)?.map_err(unavailable)?;
            if from.oldest_unseen() <= look.header.trimmed_through {
                Err(ReplayError::Trimmed)?;
            }
            loop {
                let mut piece = timeout_at(until, look.next_piece()).await.map_err(too_long)?.map_err(unavailable)?;
                piece.events.retain(|event| !from.has(event.xid, event.id));
                if !piece.events.is_empty() {
                    yield piece.events;
                }
                if piece.is_last {
                    break;
                }
            }
        }
        .boxed()
    }
}

fn too_long(_: Elapsed) -> ReplayError {
    ReplayError::Unavailable(format!(
        "not done within {} s, and others wait for their turn",
        TURN.as_secs()
    ))
}

fn unavailable(error: impl std::fmt::Display) -> ReplayError {
    ReplayError::Unavailable(error.to_string())
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
