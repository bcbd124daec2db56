//! The hub: from one stream of batches to many subscribers. It knows neither PostgreSQL nor HTTP.
//!
//! A source [`Hub::publish`]es batches; the hub brings the [`mirror`] and the [`ring`] up to date and hands each group
//! of equal subscriptions one delivery, encoded once and shared. A subscriber [`Subscriber::subscribe`]s at an instant between
//! two batches, so its snapshot (or what it is owed since its cursor) and the deliveries that follow fit exactly.
//!
//! Invariants:
//! - the mirror is the state at the hub's cursor, and the newest batch of the ring ends there;
//! - a subscription is owed exactly what the cursor last sent to it lacks: under one lock it is registered and served;
//! - the hub never waits for a subscriber, and those who are behind cost it nothing: what waits is bounded, and what was
//!   given up is counted ([`Losses`]).

mod backlog;
pub mod filter;
mod frame;
mod group;
pub mod mirror;
pub mod presence;
mod ring;
mod subscriber;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use serde::Serialize;
use tokio::sync::{Notify, broadcast, watch};

use self::filter::{Filter, Verdict};
pub use self::frame::Frame;
use self::frame::Told;
use self::group::{GroupKey, Groups};
use self::mirror::{Mirror, View};
use self::ring::{Batch, Ring};
pub use self::subscriber::{Losses, Mode, Outgoing, ResetReason};
use self::subscriber::{Outbox, Taken};
use crate::cursor::{Cursor, Within};
use crate::event::Event;

/// What a resuming subscription missed is sent in pieces of about this many bytes.
const FRAME_BYTES: usize = 256 * 1024;
/// Changes of the status that may wait for a slow subscriber before it misses one.
const STATUS_CHANGES: usize = 16;

/// Bounds of the hub's memory.
#[derive(Clone, Copy, Debug)]
pub struct HubLimits {
    /// Bytes of recent events kept for resuming.
    pub ring_bytes: usize,
    /// Bytes that may wait for one subscription; equal ones share them.
    pub subscriber_bytes: usize,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            ring_bytes: 64 * 1024 * 1024,
            subscriber_bytes: 1024 * 1024,
        }
    }
}

/// Whether the screen tells the truth, and why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// In one word.
    pub status: Liveness,
    /// Since when: an RFC 3339 instant.
    pub since: jiff::Timestamp,
    /// Why it is not live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
}

/// Whether the relay is in touch with its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// It is, and has nothing left to read.
    Live,
    /// It is, and is reading what it missed.
    CatchingUp,
    /// It is not.
    Degraded,
}

/// The state that a source starts from.
#[derive(Debug)]
pub struct Origin {
    /// The state at the cursor.
    pub mirror: Mirror,
    /// Where the state was read.
    pub cursor: Cursor,
    /// Events before the cursor, so that subscribers of an earlier relay can resume: all that `recent_from` lacks.
    pub recent: Vec<Event>,
    /// Where the recent events begin.
    pub recent_from: Cursor,
    /// Up to when the state is complete, and when that was learnt.
    pub complete: Completeness,
}

/// Up to when everything has been read.
#[derive(Clone, Debug)]
pub struct Completeness {
    /// By the database's clock: an RFC 3339 instant in UTC.
    pub as_of: Arc<str>,
    /// By this machine's clock, for the lag.
    pub learnt: Instant,
}

/// What a subscription asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name on its connection.
    pub sub: Arc<str>,
    /// What it wants.
    pub filter: Filter,
    /// What it wants when it falls behind.
    pub mode: Mode,
}

/// Where a subscription starts.
#[derive(Clone, Debug)]
pub enum Start {
    /// With the present state.
    Snapshot,
    /// With what comes next.
    Now,
    /// With what this cursor lacks.
    Since(Arc<Cursor>),
}

/// How a subscription began, or why it could not yet.
#[derive(Debug)]
pub enum Attached {
    /// It is live; these frames come first (a snapshot, or what was missed).
    Live {
        /// Where it was registered: nothing after it is missed.
        cursor: Arc<str>,
        /// What to send first.
        frames: Vec<Frame>,
    },
    /// The relay has not read anything yet.
    NotReady,
    /// The cursor is ahead of this relay: look again when it has advanced.
    Ahead,
    /// The cursor is behind the ring: read the log up to this one first, then come again with it.
    Behind(Arc<Cursor>),
    /// The cursor belongs to another epoch.
    Foreign,
}

/// Reads the event log for a subscriber that is behind the ring.
pub trait Log: Send + Sync {
    /// The events that `from` lacks and `to` has, in order, in bounded pieces. Whoever takes no next piece for long gives
    /// way to others.
    fn replay(
        &self,
        from: Arc<Cursor>,
        to: Arc<Cursor>,
    ) -> BoxStream<'static, Result<Replayed, ReplayError>>;
}

/// A piece of what was read from the log.
#[derive(Debug)]
pub struct Replayed {
    /// Perhaps none.
    pub events: Vec<Event>,
    /// A reader that has them has everything of the interval up to this id.
    pub last_id: i64,
}

/// Why the log could not be read for a subscriber.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// What is owed is no longer kept.
    #[error("the event log has been trimmed past the cursor")]
    Trimmed,
    /// The database did not answer; the subscriber may come again.
    #[error("the event log cannot be read")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// The hub; clones share it.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: HubLimits,
    state: Mutex<State>,
    status: watch::Sender<Status>,
    /// Each change of the status, for those who must not miss one.
    changes: broadcast::Sender<Status>,
    standing: Mutex<Standing>,
    advanced: watch::Sender<u64>,
    look: Notify,
    losses: Arc<Losses>,
}

/// What the status follows from.
#[derive(Debug)]
struct Standing {
    /// How it is with reading.
    reading: (Liveness, Option<Arc<str>>),
    /// Who cannot do what else belongs to a true screen, and why.
    impaired: BTreeMap<&'static str, Arc<str>>,
}

#[derive(Debug)]
struct State {
    read: Option<Read>,
    groups: Groups,
    next_subscriber: u64,
}

/// What has been read from the source.
#[derive(Debug)]
struct Read {
    mirror: Mirror,
    ring: Ring,
    cursor: Arc<Cursor>,
    encoded: Arc<str>,
    complete: Completeness,
}

impl Hub {
    /// A hub that has read nothing yet and says so.
    pub fn new(limits: HubLimits) -> Self {
        let starting = Status {
            status: Liveness::Degraded,
            since: jiff::Timestamp::now(),
            reason: Some("starting".into()),
        };
        let losses = Arc::<Losses>::default();
        let state = State {
            read: None,
            groups: Groups::new(limits.subscriber_bytes, losses.clone()),
            next_subscriber: 0,
        };
        Self {
            shared: Arc::new(Shared {
                limits,
                state: Mutex::new(state),
                standing: Mutex::new(Standing {
                    reading: (starting.status, starting.reason.clone()),
                    impaired: BTreeMap::new(),
                }),
                status: watch::Sender::new(starting),
                changes: broadcast::Sender::new(STATUS_CHANGES),
                advanced: watch::Sender::new(0),
                look: Notify::new(),
                losses,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .expect("no holder of this lock panics")
    }

    /// Begins at a state that does not follow from the one before: every subscription is reset to it.
    pub fn install(&self, origin: Origin, reason: ResetReason) {
        let cursor = Arc::new(origin.cursor);
        let mut ring = Ring::new(Arc::new(origin.recent_from), self.shared.limits.ring_bytes);
        let recent = origin.recent.into_iter().map(Arc::new).collect();
        ring.push(Batch {
            to: cursor.clone(),
            events: recent,
        });
        let encoded = cursor.encode().into();
        let mut state = self.lock();
        state.read = Some(Read {
            mirror: origin.mirror,
            ring,
            cursor,
            encoded,
            complete: origin.complete,
        });
        state.groups.forget_snapshots();
        // Under the lock: no subscription may be told that it has the new state before it is reset to it.
        for outbox in state.groups.outboxes() {
            outbox.lose(reason);
        }
        drop(state);
        self.shared.advanced.send_modify(|count| *count += 1);
    }

    /// Takes in what was read since the hub's cursor, up to `to`: in the order of the log, and complete as of the given
    /// instant unless the batch ends inside an interval.
    ///
    /// # Panics
    /// Before [`Self::install`].
    pub fn publish(&self, to: Cursor, events: Vec<Event>, complete: Option<Completeness>) {
        let to = Arc::new(to);
        let encoded: Arc<str> = to.encode().into();
        let events: Vec<_> = events.into_iter().map(Arc::new).collect();
        let mut state = self.lock();
        let State { read, groups, .. } = &mut *state;
        let read = read.as_mut().expect("a source installs its origin first");
        for event in &events {
            read.mirror.apply(event);
        }
        let woken = groups.deliver(&events, &encoded);
        if !events.is_empty() {
            groups.forget_snapshots();
            read.ring.push(Batch {
                to: to.clone(),
                events,
            });
        }
        read.cursor = to;
        read.encoded = encoded;
        if let Some(complete) = complete {
            read.complete = complete;
        }
        drop(state);
        for wake in woken {
            wake.notify_one();
        }
        self.shared.advanced.send_modify(|count| *count += 1);
    }

    /// What the hub has, where it has read anything: a source goes on from here.
    pub fn cursor(&self) -> Option<Arc<Cursor>> {
        self.lock().read.as_ref().map(|read| read.cursor.clone())
    }

    /// Says whether the hub is in touch with its source. The same status again changes nothing.
    pub fn set_status(&self, status: Liveness, reason: Option<&str>) {
        let mut standing = self.standing();
        standing.reading = (status, reason.map(Into::into));
        self.announce(&standing);
    }

    /// Says that something else that belongs to a true screen cannot be done, or can be done again: a relay that reads
    /// is degraded meanwhile.
    pub fn set_impaired(&self, what: &'static str, reason: Option<&str>) {
        let mut standing = self.standing();
        match reason {
            Some(reason) => standing.impaired.insert(what, reason.into()),
            None => standing.impaired.remove(what),
        };
        self.announce(&standing);
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.shared
            .standing
            .lock()
            .expect("no holder of this lock panics")
    }

    fn announce(&self, standing: &Standing) {
        let (mut status, mut reason) = standing.reading.clone();
        if let Some(impaired) = standing.impaired.values().next()
            && status == Liveness::Live
        {
            (status, reason) = (Liveness::Degraded, Some(impaired.clone()));
        }
        self.shared.status.send_if_modified(|held| {
            let changed = held.status != status || held.reason != reason;
            if changed {
                let since = if held.status == status {
                    held.since
                } else {
                    jiff::Timestamp::now()
                };
                *held = Status {
                    status,
                    since,
                    reason,
                };
                // Nobody may be subscribed.
                let _ = self.shared.changes.send(held.clone());
            }
            changed
        });
    }

    /// Whether the screen tells the truth.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// Each change of the status from now on. Whoever falls far behind is told so, and asks [`Self::status`].
    pub fn status_changes(&self) -> broadcast::Receiver<Status> {
        self.shared.changes.subscribe()
    }

    /// Changes whenever the hub's cursor does.
    pub fn advanced(&self) -> watch::Receiver<u64> {
        self.shared.advanced.subscribe()
    }

    /// Asks the source to look now rather than at its next occasion.
    pub fn request_look(&self) {
        self.shared.look.notify_one();
    }

    /// Resolves when somebody has asked for a look.
    pub async fn look_requested(&self) {
        self.shared.look.notified().await;
    }

    /// What was given up for slow subscribers.
    pub fn losses(&self) -> &Losses {
        &self.shared.losses
    }

    /// Bytes of events that wait for subscribers, each counted once however many wait for it.
    pub fn backlog_bytes(&self) -> usize {
        self.lock().groups.backlog_bytes()
    }

    /// How many connections are subscribed.
    pub fn subscribers(&self) -> usize {
        let mut outboxes: Vec<_> = self
            .lock()
            .groups
            .outboxes()
            .map(|outbox| Arc::as_ptr(&outbox))
            .collect();
        outboxes.sort_unstable();
        outboxes.dedup();
        outboxes.len()
    }

    /// A new connection's end of the hub.
    pub fn connect(&self) -> Subscriber {
        let mut state = self.lock();
        state.next_subscriber += 1;
        let outbox = Arc::new(Outbox::new(state.next_subscriber));
        Subscriber {
            hub: self.clone(),
            id: state.next_subscriber,
            outbox,
            joined: Mutex::default(),
        }
    }
}

/// One connection's end of the hub. Dropping it ends its subscriptions.
#[derive(Debug)]
pub struct Subscriber {
    hub: Hub,
    id: u64,
    outbox: Arc<Outbox>,
    joined: Mutex<Vec<GroupKey>>,
}

/// Up to when a subscription is complete.
#[derive(Clone, Debug, Serialize)]
pub struct Heartbeat {
    /// Which subscription.
    pub sub: Arc<str>,
    /// What it has.
    pub cursor: Arc<str>,
    /// By the database's clock.
    pub complete_as_of: Arc<str>,
    /// How long ago the relay learnt it, in milliseconds.
    pub lag_ms: u64,
}

impl Subscriber {
    /// Registers a subscription and says what it gets first. A subscription of the same name must have been ended.
    pub fn subscribe(&self, wanted: &Wanted, start: &Start) -> Attached {
        let key = GroupKey {
            sub: wanted.sub.clone(),
            filter: wanted.filter.clone(),
        };
        let mut state = self.hub.lock();
        let State {
            read: Some(read),
            groups,
            ..
        } = &mut *state
        else {
            return Attached::NotReady;
        };
        let cursor = read.encoded.clone();
        let mut view = None;
        let mut frames = Vec::new();
        match start {
            Start::Now => {}
            Start::Snapshot => match groups.snapshot(&key) {
                Some(shared) => frames.extend(shared.iter().cloned()),
                None => view = Some(read.mirror.view(&wanted.filter)),
            },
            Start::Since(since) => {
                if since.epoch != read.cursor.epoch {
                    return Attached::Foreign;
                }
                if !read.cursor.covers(since) {
                    return Attached::Ahead;
                }
                let Some(owed) = read.ring.owed(since) else {
                    return Attached::Behind(Arc::new(Cursor::at(
                        since.epoch,
                        read.cursor.seen.clone(),
                    )));
                };
                let told: Vec<Told> = owed
                    .filter_map(|event| told(&wanted.filter, event))
                    .collect();
                frames = resumed(&wanted.sub, since, &read.cursor, told);
            }
        }
        let backlog = groups.join(&key, self.id, &self.outbox);
        self.outbox.open(wanted.sub.clone(), wanted.mode, backlog);
        drop(state);
        self.joined().push(key.clone());
        if let Some(view) = view {
            frames = self.share_snapshot(&key, &cursor, &view);
        }
        Attached::Live { cursor, frames }
    }

    /// Serves a subscription that lost its backlog: the state now, and everything after it.
    pub fn resync(&self, wanted: &Wanted) -> Vec<Frame> {
        let key = GroupKey {
            sub: wanted.sub.clone(),
            filter: wanted.filter.clone(),
        };
        let state = self.hub.lock();
        let Some(read) = &state.read else {
            return Vec::new();
        };
        self.outbox.recover(&wanted.sub);
        if let Some(shared) = state.groups.snapshot(&key) {
            return shared.to_vec();
        }
        let (cursor, view) = (read.encoded.clone(), read.mirror.view(&wanted.filter));
        drop(state);
        self.share_snapshot(&key, &cursor, &view)
    }

    /// Encodes outside the lock, then keeps the frames for whoever asks the same before the next event.
    fn share_snapshot(&self, key: &GroupKey, cursor: &Arc<str>, view: &View) -> Vec<Frame> {
        let frames = frame::snapshot(&key.sub, cursor, view);
        let mut state = self.hub.lock();
        let unchanged = state
            .read
            .as_ref()
            .is_some_and(|read| Arc::ptr_eq(&read.encoded, cursor));
        if unchanged {
            state.groups.keep_snapshot(key, &frames);
        }
        frames
    }

    /// Ends a subscription; `false` where there is none of that name.
    pub fn unsubscribe(&self, sub: &str) -> bool {
        let mut joined = self.joined();
        let Some(position) = joined.iter().position(|key| *key.sub == *sub) else {
            return false;
        };
        let key = joined.swap_remove(position);
        self.hub.lock().groups.leave(&key, self.id);
        self.outbox.close(sub);
        true
    }

    fn joined(&self) -> MutexGuard<'_, Vec<GroupKey>> {
        self.joined.lock().expect("no holder of this lock panics")
    }

    /// Resolves when there may be something to [`Self::take`].
    pub async fn ready(&self) {
        self.outbox.wake.notified().await;
    }

    /// Everything that waits to be sent.
    pub fn take(&self) -> Vec<Outgoing> {
        encoded(self.outbox.take().0)
    }

    /// Everything that waits to be sent, and then, for each subscription that has lost nothing, up to when it is
    /// complete: both of one instant, so that the heartbeat is true once the frames before it have been sent.
    pub fn take_with_heartbeats(&self) -> (Vec<Outgoing>, Vec<Heartbeat>) {
        let state = self.hub.lock();
        let (taken, whole) = self.outbox.take();
        let Some(read) = &state.read else {
            drop(state);
            return (encoded(taken), Vec::new());
        };
        let heartbeat = |sub| Heartbeat {
            sub,
            cursor: read.encoded.clone(),
            complete_as_of: read.complete.as_of.clone(),
            lag_ms: millis(read.complete.learnt.elapsed()),
        };
        let heartbeats = whole.into_iter().map(heartbeat).collect();
        drop(state);
        (encoded(taken), heartbeats)
    }

    /// Encodes what the log had for a subscription that was behind the ring: one `events` frame ending at `cursor`, or
    /// none where nothing of it matches.
    pub fn encode_replayed(
        wanted: &Wanted,
        events: Vec<Event>,
        cursor: &Arc<str>,
    ) -> Option<Frame> {
        let told: Vec<Told> = events
            .into_iter()
            .filter_map(|event| told(&wanted.filter, &Arc::new(event)))
            .collect();
        (!told.is_empty()).then(|| frame::events(&wanted.sub, cursor, &told))
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        for key in self.joined().drain(..) {
            state.groups.leave(&key, self.id);
            self.outbox.close(&key.sub);
        }
    }
}

fn encoded(taken: Vec<Taken>) -> Vec<Outgoing> {
    taken.into_iter().flat_map(Taken::outgoing).collect()
}

/// The event as the filter's owner is told it, if at all.
fn told(filter: &Filter, event: &Arc<Event>) -> Option<Told> {
    match filter.verdict(event) {
        Verdict::No => None,
        verdict => Some((event.clone(), verdict == Verdict::Left)),
    }
}

/// What a resuming subscription missed, in pieces. A reader that is cut off between two of them goes on where it was:
/// they are in the order of ids, and each one but the last says how far inside the interval it ends. A reader that was
/// inside an interval already is brought to the end of that one first, since a cursor can be inside one only.
fn resumed(sub: &str, since: &Cursor, to: &Cursor, missed: Vec<Told>) -> Vec<Frame> {
    match &since.within {
        Some(Within { to: end, .. }) if to.within.is_none() => {
            let (first, then) = missed
                .into_iter()
                .partition(|(event, _)| end.sees(event.xid));
            let end = Cursor::at(since.epoch, end.clone());
            let mut frames = pieces(sub, since, &end, first);
            frames.extend(pieces(sub, &end, to, then));
            frames
        }
        _ => pieces(sub, since, to, missed),
    }
}

/// The events of one interval. Where `to` is itself inside one, they cannot be cut into pieces.
fn pieces(sub: &str, from: &Cursor, to: &Cursor, mut events: Vec<Told>) -> Vec<Frame> {
    events.sort_by_key(|(event, _)| event.id);
    let mut frames = Vec::new();
    let mut rest = &events[..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let full = rest.iter().position(|(event, _)| {
            bytes += event.size();
            bytes > FRAME_BYTES && to.within.is_none()
        });
        let (piece, later) = rest.split_at(full.map_or(rest.len(), |position| position.max(1)));
        let cursor = match (piece.last(), later) {
            (Some((last, _)), [_, ..]) => {
                let within = Some(Within {
                    to: to.seen.clone(),
                    last_id: last.id,
                });
                Cursor {
                    epoch: from.epoch,
                    seen: from.seen.clone(),
                    within,
                }
                .encode()
            }
            _ => to.encode(),
        };
        frames.push(frame::events(sub, &cursor.into(), piece));
        rest = later;
    }
    frames
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
