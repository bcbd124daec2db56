//! How a subscription arrives: from whatever cursor it brings to the live stream, without a gap or a double.
//!
//! In memory where the ring reaches back far enough; else from a fresh snapshot (`latest`) or through the event log
//! (`every`). A cursor ahead of this relay is waited for: relays are not in step, and sending again what the client has
//! seen would be a lie of another kind.
//!
//! The log is read for one subscription of a connection after the other: those who wait for their turn there are
//! connections, and one with many subscriptions is one of them.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::Stream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::protocol::{CloseReason, ServerMessage, Subscription};
use crate::cursor::{Cursor, Within};
use crate::hub::{
    Attached, Frame, Hub, Log, Mode, ReplayError, Replayed, ResetReason, Start, Subscriber, Wanted,
};

/// How long a cursor that is ahead of this relay is waited for.
const AHEAD_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks for it: a forged one must not keep the database busy.
const AHEAD_PAUSE: Duration = Duration::from_millis(50);

/// A step of a subscription that is not live yet. After the last one it is.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Send these.
    Frames(Vec<Frame>),
    /// Send this, if anything of what was read matches; the reader is at the cursor either way.
    Replayed(Option<Frame>, Arc<str>),
    /// Send these; what follows is live.
    Live(Vec<Frame>),
    /// End the connection: the client should come again.
    Close(CloseReason),
}

/// Brings a subscription to the live stream. The step that makes it live is yielded in the same poll that registers it,
/// so that nothing of the live stream can be sent before. The log is read while it holds the one permit of `turn`.
pub(crate) fn arrive(
    hub: Hub,
    log: Arc<dyn Log>,
    turn: Arc<Semaphore>,
    subscriber: Arc<Subscriber>,
    subscription: Subscription,
) -> impl Stream<Item = Arrival> + Send {
    async_stream::stream! {
        let Subscription { wanted, since, snapshot } = subscription;
        let mut start = match since {
            None if snapshot => Start::Snapshot,
            None => Start::Now,
            Some(Ok(cursor)) => Start::Since(cursor),
            Some(Err(_)) => {
                yield reset(&wanted, ResetReason::CursorInvalid);
                Start::Snapshot
            }
        };
        let mut announced = false;
        let mut advanced = hub.advanced();
        let mut ahead_until = None;
        let mut held = None;
        loop {
            advanced.mark_unchanged();
            match subscriber.subscribe(&wanted, &start) {
                Attached::Live { cursor, frames } => {
                    let from = match &start {
                        Start::Snapshot => None,
                        Start::Now => Some(cursor.to_string()),
                        Start::Since(since) => Some(since.encode()),
                    };
                    let mut all = if announced { Vec::new() } else { vec![subscribed(&wanted, from.as_deref())] };
                    all.extend(frames);
                    yield Arrival::Live(all);
                    return;
                }
                Attached::NotReady => {
                    if advanced.changed().await.is_err() {
                        return;
                    }
                }
                Attached::Foreign => {
                    yield reset(&wanted, ResetReason::CursorForeign);
                    start = Start::Snapshot;
                }
                Attached::Ahead => {
                    let deadline = *ahead_until.get_or_insert_with(|| Instant::now() + AHEAD_PATIENCE);
                    hub.request_look();
                    if timeout_at(deadline, advanced.changed()).await.is_err() {
                        yield reset(&wanted, ResetReason::CursorAhead);
                        start = Start::Snapshot;
                    } else {
                        sleep(AHEAD_PAUSE).await;
                    }
                }
                Attached::Behind(to) => {
                    let Start::Since(from) = &start else { return };
                    if wanted.mode == Mode::Latest {
                        yield reset(&wanted, ResetReason::CursorExpired);
                        start = Start::Snapshot;
                        continue;
                    }
                    // Where the relay is inside an interval itself, there is nothing to read before it has come further: nor
                    // if that is the one that the reader is inside of, since what it has of that would be forgotten.
                    let is_inside = from.within.as_ref().is_some_and(|within| !to.seen.covers(&within.to));
                    if is_inside || from.covers(&to) {
                        if advanced.changed().await.is_err() {
                            return;
                        }
                        continue;
                    }
                    if !announced {
                        announced = true;
                        yield Arrival::Frames(vec![subscribed(&wanted, Some(&from.encode()))]);
                    }
                    if held.is_none() {
                        held = turn.clone().acquire_owned().await.ok();
                        // The relay has come further meanwhile.
                        continue;
                    }
                    // A reader that was inside an interval is brought to the end of that one first.
                    let to = match &from.within {
                        Some(within) => Arc::new(Cursor::at(from.epoch, within.to.clone())),
                        None => to,
                    };
                    let mut pieces = log.replay(from.clone(), to.clone());
                    let mut outcome = Ok(());
                    while let Some(piece) = pieces.next().await {
                        match piece {
                            Ok(Replayed { events, last_id }) => {
                                let within = Some(Within { to: to.seen.clone(), last_id });
                                let cursor = Cursor { epoch: from.epoch, seen: from.seen.clone(), within }.encode().into();
                                yield Arrival::Replayed(Subscriber::encode_replayed(&wanted, events, &cursor), cursor);
                            }
                            Err(error) => outcome = Err(error),
                        }
                    }
                    match outcome {
                        Ok(()) => start = Start::Since(to),
                        Err(ReplayError::Trimmed) => {
                            yield reset(&wanted, ResetReason::LogTrimmed);
                            start = Start::Snapshot;
                        }
                        Err(ReplayError::Unavailable(error)) => {
                            tracing::warn!(error = &*error as &dyn Error, "the event log cannot be read for a subscriber");
                            yield Arrival::Close(CloseReason::TryAgain);
                            return;
                        }
                    }
                }
            }
        }
    }
}

fn subscribed(wanted: &Wanted, cursor: Option<&str>) -> Frame {
    ServerMessage::Subscribed {
        sub: &wanted.sub,
        cursor,
    }
    .frame()
}

fn reset(wanted: &Wanted, reason: ResetReason) -> Arrival {
    Arrival::Frames(vec![
        ServerMessage::Reset {
            sub: &wanted.sub,
            reason,
            message: reason.message(),
        }
        .frame(),
    ])
}
