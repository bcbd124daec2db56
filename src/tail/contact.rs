//! How it stands with the relay: whether it is there, what it says of itself, and how old what it said is. Pure.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::frame::{Heartbeat, Hello, Status};

/// The interval of heartbeats until the relay says.
const USUAL_HEARTBEAT: Duration = Duration::from_secs(10);
/// Whatever the relay says, it is not believed to be silent for longer.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(3600);
/// After so many intervals without a heartbeat, what is shown may be stale.
const STALE_AFTER: u32 = 2;

/// The present, as both clocks show it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// For lengths of time.
    pub(super) instant: Instant,
    /// For times of day.
    pub(super) wall: Timestamp,
}

impl Now {
    pub(super) fn read() -> Self {
        Self {
            instant: Instant::now(),
            wall: Timestamp::now(),
        }
    }
}

/// How it stands with the relay.
#[derive(Clone, Debug)]
pub(super) enum Link {
    /// Not there yet.
    Connecting,
    /// There; the relay's last word about itself, if it has said any.
    Up(Option<Status>),
    /// Lost.
    Down {
        since: Timestamp,
        reason: String,
        retry_at: Instant,
    },
}

/// What is known of the relay.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) link: Link,
    /// Up to when everything has been told, by the database's clock.
    pub(super) complete_as_of: Option<Timestamp>,
    /// How far this machine's clock is ahead of the database's.
    clock_ahead: SignedDuration,
    heartbeat: Duration,
    /// When the last heartbeat came, or the connection.
    heard: Option<Instant>,
}

impl Contact {
    pub(super) fn new() -> Self {
        Self {
            link: Link::Connecting,
            complete_as_of: None,
            clock_ahead: SignedDuration::ZERO,
            heartbeat: USUAL_HEARTBEAT,
            heard: None,
        }
    }

    /// A connection has been made.
    pub(super) fn connected(&mut self, now: Now) {
        self.link = Link::Up(None);
        self.heard = Some(now.instant);
    }

    /// The connection is lost, or could not be made.
    pub(super) fn disconnected(&mut self, now: Now, reason: String, retry_at: Instant) {
        let since = match self.link {
            Link::Down { since, .. } => since,
            _ => now.wall,
        };
        self.link = Link::Down {
            since,
            reason,
            retry_at,
        };
        self.heard = None;
    }

    /// Takes in the first frame.
    pub(super) fn greeted(&mut self, hello: &Hello) {
        self.heartbeat = Duration::from_millis(hello.heartbeat_interval_ms)
            .clamp(Duration::from_millis(1), LONGEST_HEARTBEAT);
    }

    /// Takes in what the relay says of itself; true where that is news.
    pub(super) fn says(&mut self, status: Status) -> bool {
        let Link::Up(before) = &self.link else {
            return false;
        };
        let is_news = match before {
            Some(before) => before.status != status.status,
            None => status.status != "live",
        };
        self.link = Link::Up(Some(status));
        is_news
    }

    /// Takes in a sign of life.
    pub(super) fn beat(&mut self, heartbeat: &Heartbeat, now: Now) {
        self.heard = Some(now.instant);
        if let Some(complete) = heartbeat.complete_as_of {
            let lag = SignedDuration::from_millis(heartbeat.lag_ms);
            let database_now = complete.checked_add(lag).unwrap_or(complete);
            self.clock_ahead = now.wall.duration_since(database_now);
            self.complete_as_of = Some(complete);
        }
    }

    /// How often the relay says that it is alive.
    pub(super) fn heartbeat_interval(&self) -> Duration {
        self.heartbeat
    }

    /// For how long no heartbeat has come, where that is too long.
    pub(super) fn stale_for(&self, now: Now) -> Option<Duration> {
        let silent = now.instant.saturating_duration_since(self.heard?);
        (silent > self.heartbeat * STALE_AFTER).then_some(silent)
    }

    /// Whether what is known is the present state, as far as the relay can tell.
    pub(super) fn is_fresh(&self, now: Now) -> bool {
        matches!(&self.link, Link::Up(Some(status)) if status.status == "live")
            && self.stale_for(now).is_none()
    }

    /// The time by the database's clock.
    pub(super) fn database_time(&self, now: Now) -> Timestamp {
        now.wall.checked_sub(self.clock_ahead).unwrap_or(now.wall)
    }
}
