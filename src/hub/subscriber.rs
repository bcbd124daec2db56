//! One subscriber's outbox: where each of its subscriptions stands, and honest about what could not be kept.
//!
//! What waits is kept once for each group of equal subscriptions ([`super::backlog`]), bounded in bytes; the subscriber's
//! own task takes it out as fast as its socket allows, and the hub never waits. When a subscriber falls behind, its mode
//! decides. `latest` keeps what matters most: events of one row give way to a newer one of the same row, endings and
//! errors last of all; if that is not enough the backlog is dropped and the subscription is told so (`reset`) and starts
//! again from a snapshot. `every` may lose nothing, so the backlog is dropped and the connection closed in a way that can
//! be resumed from the last cursor that went out.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::backlog::{Backlog, Handed, Position};
use super::frame::Frame;

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

/// What was given up for slow subscribers, since the start.
#[derive(Debug, Default)]
pub struct Losses {
    /// Events that a subscription was not sent because a newer one of the same row was.
    pub conflated: AtomicU64,
    /// Subscriptions that were reset because of their backlog.
    pub resets: AtomicU64,
    /// Connections that were closed because of their backlog.
    pub overflows: AtomicU64,
}

/// The hub's end of one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    member: u64,
    queues: Mutex<Vec<Queue>>,
    pub(crate) wake: Arc<Notify>,
}

/// One subscription.
#[derive(Debug)]
struct Queue {
    sub: Arc<str>,
    mode: Mode,
    backlog: Arc<Backlog>,
    standing: Standing,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    At(Position),
    /// Until it has been served a snapshot.
    Lost(ResetReason),
}

/// What was taken out of an outbox and is not encoded yet.
#[derive(Debug)]
pub(crate) enum Taken {
    Handed(Handed),
    Told(Outgoing),
}

impl Taken {
    /// What to do about it.
    pub(crate) fn outgoing(self) -> Vec<Outgoing> {
        match self {
            Self::Handed(handed) => handed.frames().into_iter().map(Outgoing::Frame).collect(),
            Self::Told(outgoing) => vec![outgoing],
        }
    }
}

impl Outbox {
    pub(crate) fn new(member: u64) -> Self {
        Self {
            member,
            queues: Mutex::default(),
            wake: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Queue>> {
        self.queues.lock().expect("no holder of this lock panics")
    }

    /// Begins a subscription: it gets what its group gets from now on.
    pub(crate) fn open(&self, sub: Arc<str>, mode: Mode, backlog: Arc<Backlog>) {
        let standing = Standing::At(backlog.join(mode, self.member, &self.wake));
        self.lock().push(Queue {
            sub,
            mode,
            backlog,
            standing,
        });
    }

    pub(crate) fn close(&self, sub: &str) {
        let mut queues = self.lock();
        for queue in queues.iter().filter(|queue| &*queue.sub == sub) {
            queue.leave(self.member);
        }
        queues.retain(|queue| &*queue.sub != sub);
    }

    /// Drops the backlog of all subscriptions: a snapshot has to follow.
    pub(crate) fn lose(&self, reason: ResetReason) {
        for queue in self.lock().iter_mut() {
            queue.leave(self.member);
            queue.standing = Standing::Lost(reason);
        }
        self.wake.notify_one();
    }

    /// Says that the subscription has been served a snapshot and is live again.
    pub(crate) fn recover(&self, sub: &str) {
        for queue in self.lock().iter_mut().filter(|queue| &*queue.sub == sub) {
            queue.leave(self.member);
            let position = queue.backlog.join(queue.mode, self.member, &self.wake);
            queue.standing = Standing::At(position);
        }
    }

    /// Everything that waits, conflated where the mode allows it, and what is left to do about lost backlogs. The
    /// second value says which subscriptions have nothing lost, so that a heartbeat for them tells the truth.
    pub(crate) fn take(&self) -> (Vec<Taken>, Vec<Arc<str>>) {
        let mut taken = Vec::new();
        let mut whole = Vec::new();
        for queue in self.lock().iter_mut() {
            match queue.take(self.member, &self.wake) {
                Ok(handed) => {
                    taken.push(Taken::Handed(handed));
                    whole.push(queue.sub.clone());
                }
                Err(ResetReason::BacklogExceeded) if queue.mode == Mode::Every => {
                    taken.push(Taken::Told(Outgoing::Overflow));
                }
                Err(reason) => {
                    taken.push(Taken::Told(Outgoing::Reset(queue.sub.clone(), reason)));
                }
            }
        }
        (taken, whole)
    }
}

impl Queue {
    fn leave(&self, member: u64) {
        if let Standing::At(position) = self.standing {
            self.backlog.leave(self.mode, member, position);
        }
    }

    fn take(&mut self, member: u64, wake: &Arc<Notify>) -> Result<Handed, ResetReason> {
        let position = match self.standing {
            Standing::At(position) => position,
            Standing::Lost(reason) => return Err(reason),
        };
        match self.backlog.take(self.mode, position, member, wake) {
            (Handed::Lost, _) => {
                self.standing = Standing::Lost(ResetReason::BacklogExceeded);
                Err(ResetReason::BacklogExceeded)
            }
            (handed, position) => {
                self.standing = Standing::At(position);
                Ok(handed)
            }
        }
    }
}
