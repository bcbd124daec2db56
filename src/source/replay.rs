//! Reading the log for a subscriber that is behind what the hub keeps in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::Semaphore;

use super::log;
use crate::cursor::Cursor;
use crate::event::Event;
use crate::hub::{Log, ReplayError};

/// How many subscribers may be reading the log at the same time; the others wait their turn.
const READERS: usize = 2;

/// How long one subscriber may keep its turn, however slowly it takes what it asked for; then it has to come again, and
/// goes on where it was.
const TURN: Duration = Duration::from_secs(60);

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
            let began = Instant::now();
            let client = log.pool.get().await.map_err(unavailable)?;
            // Detached from the pool, so that the setting ends with the session and not with the next borrower.
            let client = deadpool_postgres::Object::take(client);
            client.batch_execute(log::SETTINGS).await.map_err(unavailable)?;
            let after = from.within.as_ref().filter(|within| within.to == to.seen).map_or(0, |within| within.last_id);
            let mut look = log::interval(&client, &from.seen, &to.seen, after).await.map_err(unavailable)?;
            if from.oldest_unseen() <= look.header.trimmed_through {
                Err(ReplayError::Trimmed)?;
            }
            loop {
                if began.elapsed() > TURN {
                    Err(ReplayError::Unavailable("others wait for their turn".to_owned()))?;
                }
                let mut piece = look.next_piece().await.map_err(unavailable)?;
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

fn unavailable(error: impl std::fmt::Display) -> ReplayError {
    ReplayError::Unavailable(error.to_string())
}
