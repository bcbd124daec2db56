//! One subscriber's outbox: bounded in bytes, and honest about what it could not keep.
//!
//! The hub puts deliveries in and never waits; the subscriber's own task takes them out as fast as its socket allows.
//! When a subscriber falls behind, its mode decides. `latest` keeps what matters most: events of one row give way to a
//! newer one of the same row, endings and errors last of all; if that is not enough the backlog is dropped and the
//! subscription is told so (`reset`) and starts again from a snapshot. `every` may lose nothing, so the backlog is
//! dropped and the connection closed in a way that can be resumed from the last cursor that went out.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::frame::{self, Frame, Told};
use crate::event::{Effect, Topic};

/// What a subscription wants when it falls behind.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The newest state, late but true.
    #[default]
    Latest,
    /// Every event, or a clear, resumable end.
    Every,
}

/// Why a subscription has to start again from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// The cursor is older than what is kept.
    CursorExpired,
    /// The cursor is of another database, log or timeline.
    CursorForeign,
    /// The text is not a cursor.
    CursorInvalid,
    /// The cursor is ahead of this relay and stayed so.
    CursorAhead,
    /// The log was trimmed past the relay's own cursor.
    LogTrimmed,
    /// The subscriber fell too far behind.
    BacklogExceeded,
}

impl ResetReason {
    /// The reason in words.
    pub fn message(self) -> &'static str {
        match self {
            Self::CursorExpired => "the cursor is older than what this relay keeps",
            Self::CursorForeign => {
                "the cursor belongs to another database, or to a time before a failover or restore"
            }
            Self::CursorInvalid => "the cursor cannot be read",
            Self::CursorAhead => "the cursor is ahead of everything that this relay has seen",
            Self::LogTrimmed => "the event log has been trimmed past what was read",
            Self::BacklogExceeded => "this subscriber fell too far behind",
        }
    }
}

/// What the subscriber's task has to do next.
#[derive(Debug)]
pub enum Outgoing {
    /// Send this frame.
    Frame(Frame),
    /// Tell the subscription why, then serve it a snapshot ([`super::Subscriber::resync`]).
    Reset(Arc<str>, ResetReason),
    /// Close: an `every` subscription fell too far behind.
    Overflow,
}

/// One batch as a group of equal subscriptions gets it.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) events: Vec<Told>,
    pub(crate) cursor: Arc<str>,
    pub(crate) frame: Frame,
}

/// What was given up for slow subscribers, since the start.
#[derive(Debug, Default)]
pub struct Losses {
    /// Events that gave way to a newer one of the same row.
    pub conflated: AtomicU64,
    /// Subscriptions that were reset because of their backlog.
    pub resets: AtomicU64,
    /// Connections that were closed because of their backlog.
    pub overflows: AtomicU64,
}

/// The queue between the hub and one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    queues: Mutex<Vec<Queue>>,
    pub(crate) wake: Notify,
    max_bytes: usize,
    losses: Arc<Losses>,
}

/// The deliveries of one subscription.
#[derive(Debug)]
struct Queue {
    sub: Arc<str>,
    mode: Mode,
    deliveries: VecDeque<Arc<Delivery>>,
    bytes: usize,
    /// Do not try to conflate again below this.
    relieve_at: usize,
    lost: Option<ResetReason>,
}

impl Outbox {
    pub(crate) fn new(max_bytes: usize, losses: Arc<Losses>) -> Self {
        Self {
            queues: Mutex::default(),
            wake: Notify::new(),
            max_bytes,
            losses,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Queue>> {
        self.queues.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn open(&self, sub: Arc<str>, mode: Mode) {
        let relieve_at = self.max_bytes / 4;
        self.lock().push(Queue {
            sub,
            mode,
            deliveries: VecDeque::new(),
            bytes: 0,
            relieve_at,
            lost: None,
        });
    }

    pub(crate) fn close(&self, sub: &str) {
        self.lock().retain(|queue| &*queue.sub != sub);
    }

    /// Drops the backlog of a subscription, or of all of them: a snapshot has to follow.
    pub(crate) fn lose(&self, sub: Option<&str>, reason: ResetReason) {
        for queue in self
            .lock()
            .iter_mut()
            .filter(|queue| sub.is_none_or(|sub| &*queue.sub == sub))
        {
            queue.clear();
            queue.lost = Some(reason);
        }
        self.wake.notify_one();
    }

    /// Says that the subscription has been served a snapshot and is live again.
    pub(crate) fn recover(&self, sub: &str) {
        for queue in self.lock().iter_mut().filter(|queue| &*queue.sub == sub) {
            queue.clear();
            queue.lost = None;
        }
    }

    /// Puts a delivery into the queue of its subscription. The caller wakes the subscriber.
    pub(crate) fn push(&self, sub: &str, delivery: &Arc<Delivery>) {
        let mut queues = self.lock();
        let Some(queue) = queues
            .iter_mut()
            .find(|queue| &*queue.sub == sub && queue.lost.is_none())
        else {
            return;
        };
        queue.bytes += delivery.frame.json.len();
        queue.deliveries.push_back(delivery.clone());
        if queue.mode == Mode::Latest && queue.bytes > queue.relieve_at {
            queue.conflate(false, &self.losses);
            if queue.bytes > self.max_bytes {
                queue.conflate(true, &self.losses);
            }
            queue.relieve_at = (queue.bytes * 2).clamp(self.max_bytes / 4, self.max_bytes);
        }
        if queue.bytes > self.max_bytes {
            queue.clear();
            queue.lost = Some(ResetReason::BacklogExceeded);
            let losses = if queue.mode == Mode::Every {
                &self.losses.overflows
            } else {
                &self.losses.resets
            };
            losses.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Everything that waits, conflated where the mode allows it, and what is left to do about lost backlogs. The
    /// second value says which subscriptions have nothing lost, so that a heartbeat for them tells the truth.
    pub(crate) fn take(&self) -> (Vec<Outgoing>, Vec<Arc<str>>) {
        let mut outgoing = Vec::new();
        let mut whole = Vec::new();
        for queue in self.lock().iter_mut() {
            match queue.lost {
                Some(ResetReason::BacklogExceeded) if queue.mode == Mode::Every => {
                    outgoing.push(Outgoing::Overflow)
                }
                Some(reason) => outgoing.push(Outgoing::Reset(queue.sub.clone(), reason)),
                None => {
                    if queue.mode == Mode::Latest && queue.deliveries.len() > 1 {
                        queue.conflate(false, &self.losses);
                    }
                    outgoing.extend(
                        queue
                            .deliveries
                            .iter()
                            .map(|delivery| Outgoing::Frame(delivery.frame.clone())),
                    );
                    queue.clear();
                    queue.relieve_at = self.max_bytes / 4;
                    whole.push(queue.sub.clone());
                }
            }
        }
        (outgoing, whole)
    }
}

impl Queue {
    fn clear(&mut self) {
        self.deliveries.clear();
        self.bytes = 0;
    }

    /// Makes one delivery of all of them. `hard` gives up older endings and errors of a row too.
    fn conflate(&mut self, hard: bool, losses: &Losses) {
        let Some(newest) = self.deliveries.back().cloned() else {
            return;
        };
        let before: usize = self
            .deliveries
            .iter()
            .map(|delivery| delivery.events.len())
            .sum();
        let all = self.deliveries.iter().flat_map(|delivery| &delivery.events);
        let events = conflated(all, hard);
        losses
            .conflated
            .fetch_add((before - events.len()) as u64, Ordering::Relaxed);
        let frame = frame::events(&self.sub, &newest.cursor, &events);
        self.bytes = frame.json.len();
        self.deliveries = [Arc::new(Delivery {
            events,
            cursor: newest.cursor.clone(),
            frame,
        })]
        .into();
    }
}

/// The events without those that a newer one of the same row makes needless, in order.
fn conflated<'a>(all: impl Iterator<Item = &'a Told>, hard: bool) -> Vec<Told> {
    let mut kept: Vec<Option<&Told>> = Vec::new();
    let mut newest: HashMap<(Topic, &str), usize> = HashMap::new();
    for told in all {
        let event = &told.0;
        if event.effect == Effect::Truncated {
            for slot in kept
                .iter_mut()
                .filter(|slot| slot.is_some_and(|(older, _)| older.topic == event.topic))
            {
                *slot = None;
            }
            newest.retain(|(topic, _), _| *topic != event.topic);
        }
        if let Some(held) = newest.get(&(event.topic, &*event.row.entity)).copied()
            && let Some((older, _)) = kept[held]
        {
            if event.topic != Topic::Errors && event.row.revision < older.row.revision {
                continue;
            }
            if hard || older.is_transient() {
                kept[held] = None;
            }
        }
        newest.insert((event.topic, &event.row.entity), kept.len());
        kept.push(Some(told));
    }
    kept.into_iter().flatten().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::operation_event;

    fn told(id: i64, entity: &str, revision: i64, kind: &str, status: &str) -> Told {
        (
            Arc::new(operation_event(id, entity, revision, kind, status, None)),
            false,
        )
    }

    fn ids(events: &[Told]) -> Vec<i64> {
        events.iter().map(|(event, _)| event.id).collect()
    }

    fn delivery(events: Vec<Told>) -> Arc<Delivery> {
        let cursor: Arc<str> = "c".into();
        let frame = frame::events("s", &cursor, &events);
        Arc::new(Delivery {
            events,
            cursor,
            frame,
        })
    }

    #[test]
    fn the_newest_of_a_row_stays_and_an_ending_goes_last() {
        let events = [
            told(1, "a", 1, "operation.progress", "in_progress"),
            told(2, "b", 1, "operation.progress", "in_progress"),
            told(3, "a", 2, "operation.completed", "completed"),
            told(4, "a", 3, "operation.progress", "completed"),
            told(5, "b", 3, "operation.progress", "in_progress"),
            told(6, "b", 2, "operation.progress", "in_progress"),
        ];
        assert_eq!(ids(&conflated(events.iter(), false)), [3, 4, 5]);
        assert_eq!(ids(&conflated(events.iter(), true)), [4, 5]);
    }

    #[test]
    fn an_emptied_table_makes_everything_before_it_needless() {
        let events = [
            told(1, "a", 1, "operation.completed", "completed"),
            told(2, "sync_operations", 0, "table.truncated", ""),
            told(3, "a", 9, "operation.created", "pending"),
        ];
        assert_eq!(ids(&conflated(events.iter(), false)), [2, 3]);
    }

    #[test]
    fn a_slow_subscriber_to_the_latest_gets_one_event_a_row_and_the_newest_cursor() {
        let losses = Arc::new(Losses::default());
        let outbox = Outbox::new(20_000, losses.clone());
        outbox.open("s".into(), Mode::Latest);
        for id in 1..=1_000 {
            outbox.push(
                "s",
                &delivery(vec![told(id, "a", id, "operation.progress", "in_progress")]),
            );
        }
        let (outgoing, whole) = outbox.take();
        let [Outgoing::Frame(frame)] = &outgoing[..] else {
            panic!("one frame, got {outgoing:?}")
        };
        assert!(
            frame.json.contains(r#""id":1000"#) && !frame.json.contains(r#""id":999,"#),
            "{frame:?}"
        );
        assert_eq!(losses.conflated.load(Ordering::Relaxed), 999);
        assert_eq!(whole.len(), 1);
    }

    #[test]
    fn a_backlog_beyond_the_bound_resets_the_latest_and_closes_every() {
        let losses = Arc::new(Losses::default());
        let outbox = Outbox::new(5_000, losses.clone());
        outbox.open("l".into(), Mode::Latest);
        outbox.open("e".into(), Mode::Every);
        for id in 1..=100 {
            let each = delivery(vec![told(
                id,
                &format!("row {id}"),
                1,
                "operation.progress",
                "in_progress",
            )]);
            outbox.push("l", &each);
            outbox.push("e", &each);
        }
        let (outgoing, whole) = outbox.take();
        assert!(
            matches!(
                &outgoing[..],
                [
                    Outgoing::Reset(_, ResetReason::BacklogExceeded),
                    Outgoing::Overflow
                ]
            ),
            "{outgoing:?}"
        );
        assert!(whole.is_empty());
        assert_eq!(
            (
                losses.resets.load(Ordering::Relaxed),
                losses.overflows.load(Ordering::Relaxed)
            ),
            (1, 1)
        );
        outbox.recover("l");
        assert_eq!(outbox.take().1.len(), 1);
    }
}
