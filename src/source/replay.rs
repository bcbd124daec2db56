//! Reading the log for a subscriber that is behind what the hub keeps in memory: page by page ([`super::page`]), when it is
//! its turn ([`super::turns`]).

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Pool, PoolError};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::SourceError;
use super::ground::Ground;
use super::page::{self, Bookmark, Page};
use super::turns::{Hand, Occasion, Queue, unavailable};
use crate::cursor::Cursor;
use crate::hub::{Log, ReplayError, Replayed};
use crate::postgres::read::in_one_transaction;

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

impl ReplayLog {
    /// Reads through the pool, with a few of its sessions at most.
    pub fn new(pool: Pool) -> Self {
        Self {
            pool,
            queue: Arc::new(Queue::new()),
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
        let turn = self.queue.turn(before).await?;
        if bookmark.goes_by_ids() {
            self.summarize().await;
        }
        // Where the hosts are several, the pool may have found another one than the hub's session.
        let ground = Ground::of(to.epoch);
        let reading = in_one_transaction(&self.pool, async |transaction| {
            Ok(page::read(transaction, &ground, &from.seen, &to.seen, bookmark).await)
        });
        let page = reading.await.map_err(unavailable)?;
        if let Err(SourceError::LogReplaced | SourceError::Standby) = page {
            // Others will look for a server anew.
            self.pool.retain(|_, _| false);
        }
        let page = page.map_err(unavailable)?;
        Ok((page.ok_or(ReplayError::Trimmed)?, turn.put_aside()))
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
