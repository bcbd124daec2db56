//! Reading the log for a subscriber that is behind what the hub keeps in memory.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::Semaphore;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::log;
use crate::cursor::Cursor;
use crate::event::Event;
use crate::hub::{Log, ReplayError};

/// How many subscribers may be reading the log at the same time; the others wait their turn.
const READERS: usize = 2;

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
    readers: Arc<Semaphore>,
}

impl ReplayLog {
    /// Reads through the pool, with a few of its sessions at most.
    pub fn new(pool: Pool) -> Self {
        Self {
            pool,
            readers: Arc::new(Semaphore::new(READERS)),
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
            let _turn = log.readers.acquire().await.map_err(unavailable)?;
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
