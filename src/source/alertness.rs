//! The doorbell lease: interrupts while quiet, polling under load, as a network driver does.
//!
//! A transaction that notifies takes one lock of the whole cluster at commit and holds it through the WAL flush, so
//! notifying commits go one at a time. Under load that costs writers most of their throughput, and tells a relay that is
//! reading all the time nothing. So a relay that is busy promises to look often, by a *lease* (`bellwether.lease`), and
//! while it runs writers do not ring. The hard part is to fall asleep: a writer that saw the lease run and was silent may
//! commit long after it has run out.
//!
//! ## Phases
//! - **Calm**: waits for the bell and the safety tick. Nobody has promised anything, and every writer rings.
//! - **Busy**: many transactions come, or writers queue for the lock that ringing takes: where a commit takes 5 ms, no more
//!   than 200 that ring come in a second, however many writers there are. Extends the lease (250 ms, renewed at half-life)
//!   and looks every 2 ms.
//! - **Awake**: has stopped extending, or another relay's lease runs. Looks often while any lease runs. Every session
//!   begins here, because it cannot know who has been silent.
//! - **Fenced**: no lease runs. A writer that was silent had its transaction id before it looked at the lease, so below a
//!   *fence*: a transaction id taken now. Looks on, slowly, until every transaction below the fence has ended: until the
//!   xmin of the snapshot that a look read with has reached it. (Its xmax will not do: that is merely the last completed
//!   transaction + 1.) That look has read what they wrote, and the relay is calm.
//!
//! A relay goes by whether the lease has *moved* since its last look, not only by whether it runs: one that was extended
//! and has run out again between two looks has made writers silent all the same, and the relay needs a new fence.
//!
//! ## Invariants
//! 1. While a relay is calm, no transaction that was silent under a lease is unread and open: nobody has to ring for it.
//! 2. Whoever extends a lease that had run out owes a ring to the other relays, who may be calm. A relay that hears it
//!    looks, finds that the lease has moved, and is awake.
//!    The ring is a transaction of its own, begun once the extension has committed: its commit queues with those of the
//!    writers who still ring, one flush of the WAL for each of them, and no renewal may have to wait for that. One ring
//!    covers all extensions before it; one that is on its way when another is owed does not count for that. What a session
//!    that was lost may have owed the next one gives when it begins.
//!    The relay looks on while its extension is on its way. It can turn calm only behind a fence, and the fence goes by
//!    the same session, one statement after the other.
//! 3. A relay that dies takes nothing with it: the lease runs out within its length, and writers ring again.
//!
//! Each relay does all of this by itself. The rules are proven by `tests/lease-model`: a small world of relays, writers
//! and crashes in which [`Phase::after`] decides, explored state by state; any rule broken there loses an event.
//!
//! ## Not promised
//! Then the safety tick finds what was written meanwhile:
//! - when the relay that extended a lease dies, or loses its session, between the extension, which takes hold at once, and
//!   the commit that rings for it, no other relay is woken until it is back; nor while it can get no session to ring by
//!   and other writers stand in the way of the one that it has;
//! - when the database's clock steps back by less than a lease's length, one that had run out runs once more.

use std::time::{Duration, Instant};

/// How long one promise lasts, in milliseconds; renewed at half of it.
pub(super) const LEASE_MS: i32 = 250;
/// Transactions a second from which on the bell costs more than it tells.
const BUSY_ABOVE: f64 = 500.0;
/// Transactions a second below which it does not any more.
const BUSY_UNTIL: f64 = 200.0;
/// Over which time the rate is smoothed.
const SMOOTHING: Duration = Duration::from_millis(200);
/// Writers that queue for the bell's lock are looked for only where a look finds something and at least so many
/// transactions open at once,
const OPEN_AT_ONCE: usize = 2;
/// and at most so often.
const ASKED_EVERY: Duration = Duration::from_millis(50);
/// How long a queue that was seen counts as load: while the lease runs nobody queues.
const QUEUE_COUNTS: Duration = Duration::from_secs(1);
/// Between two looks while a lease runs.
const OFTEN: Duration = Duration::from_millis(2);
/// Between two looks while an old transaction keeps the fence up: first, and at most.
const SLOWLY: Duration = Duration::from_millis(5);
const SLOWEST: Duration = Duration::from_millis(250);

/// What a look has shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// When it was sent.
    pub(super) at: Instant,
    /// How many transactions it found.
    pub(super) transactions: usize,
    /// How many were open.
    pub(super) open: usize,
    /// The lease, read after the snapshot was taken.
    pub(super) lease: Lease,
    /// Every transaction below this has ended, and what it wrote has been read.
    pub(super) xmin: u64,
}

/// What relays have promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    /// Until when, in milliseconds since 1970: tells one promise from another.
    pub(super) until: i64,
    /// Whether it ran, by the database's clock.
    pub(super) runs: bool,
}

impl Lease {
    /// The lease at an instant, both in milliseconds since 1970. One that is further ahead than any is extended has run
    /// out, like everywhere (clocks jump).
    pub(super) fn at(until: i64, now: i64) -> Self {
        Self {
            until,
            runs: (0..1_024).contains(&until.saturating_sub(now)),
        }
    }
}

/// What to do until the next look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for the bell, or the tick.
    Listen,
    /// Look again after this, or when the bell rings.
    Look(Duration),
    /// Extend the lease, then look.
    Extend,
    /// Take a fence, tell it ([`Alertness::fenced`]), then look.
    Fence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    Calm,
    Busy,
    Awake,
    /// Behind a fence, or about to take one.
    Fenced(Option<u64>),
}

/// What decides about the phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Whether there is enough to do to promise looking often.
    pub(super) busy: bool,
    pub(super) lease_runs: bool,
    /// Whether the lease is another one than at the look before.
    pub(super) lease_moved: bool,
    pub(super) xmin: u64,
}

impl Phase {
    /// The phase after a look: the whole protocol, without its clocks.
    pub(super) fn after(self, seen: Seen) -> Self {
        match self {
            _ if seen.busy => Self::Busy,
            _ if seen.lease_runs => Self::Awake,
            _ if seen.lease_moved => Self::Fenced(None),
            Self::Calm => Self::Calm,
            Self::Fenced(Some(fence)) if seen.xmin >= fence => Self::Calm,
            Self::Fenced(fence) => Self::Fenced(fence),
            Self::Busy | Self::Awake => Self::Fenced(None),
        }
    }
}

/// How often one relay has to look.
#[derive(Debug)]
pub(super) struct Alertness {
    phase: Phase,
    /// The lease at the last look.
    lease: Option<i64>,
    /// When it was last extended here.
    extended: Option<Instant>,
    /// Before the next look behind a fence.
    pause: Duration,
    /// Transactions a second, smoothed.
    rate: f64,
    last: Instant,
    /// When writers were last looked for who queue for the bell's lock, and last seen.
    asked: Option<Instant>,
    queued: Option<Instant>,
}

impl Alertness {
    /// Awake.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Awake,
            lease: None,
            extended: None,
            pause: SLOWLY,
            rate: 0.0,
            last: now,
            asked: None,
            queued: None,
        }
    }

    /// Takes in what a look has shown.
    pub(super) fn next(&mut self, shown: &Shown) -> Next {
        self.count(shown);
        let bound = match self.phase {
            Phase::Busy => BUSY_UNTIL,
            _ => BUSY_ABOVE,
        };
        self.phase = self.phase.after(Seen {
            busy: self.rate > bound || is_within(self.queued, shown.at, QUEUE_COUNTS),
            lease_runs: shown.lease.runs,
            lease_moved: self.lease.replace(shown.lease.until) != Some(shown.lease.until),
            xmin: shown.xmin,
        });
        match self.phase {
            Phase::Calm => Next::Listen,
            Phase::Busy => self.promise(shown.at),
            Phase::Awake => Next::Look(OFTEN),
            Phase::Fenced(None) => Next::Fence,
            Phase::Fenced(Some(_)) => {
                let pause = self.pause;
                self.pause = (pause * 2).min(SLOWEST);
                Next::Look(pause)
            }
        }
    }

    /// Whether to look for writers who queue for the bell's lock; then tell it ([`Alertness::queue`]) if there are any.
    pub(super) fn suspects_a_queue(&mut self, shown: &Shown) -> bool {
        let suspects = !shown.lease.runs
            && shown.transactions > 0
            && shown.open >= OPEN_AT_ONCE
            && !is_within(self.asked, shown.at, ASKED_EVERY);
        if suspects {
            self.asked = Some(shown.at);
        }
        suspects
    }

    /// Writers queue.
    pub(super) fn queue(&mut self, shown: &Shown) -> Next {
        self.queued = Some(shown.at);
        self.phase = Phase::Busy;
        self.extended = Some(shown.at);
        Next::Extend
    }

    /// The fence that was asked for.
    pub(super) fn fenced(&mut self, xid: u64) {
        self.phase = Phase::Fenced(Some(xid));
        self.pause = SLOWLY;
    }

    /// Renews the promise at half-life.
    fn promise(&mut self, now: Instant) -> Next {
        let half_life = Duration::from_millis(LEASE_MS.unsigned_abs().into()) / 2;
        match self.extended {
            Some(extended) if now.duration_since(extended) < half_life => Next::Look(OFTEN),
            _ => {
                self.extended = Some(now);
                Next::Extend
            }
        }
    }

    fn count(&mut self, shown: &Shown) {
        let passed =
            shown.at.saturating_duration_since(self.last).as_secs_f64() / SMOOTHING.as_secs_f64();
        self.rate =
            self.rate * (-passed).exp() + shown.transactions as f64 / SMOOTHING.as_secs_f64();
        self.last = shown.at;
    }
}

fn is_within(then: Option<Instant>, now: Instant, span: Duration) -> bool {
    then.is_some_and(|then| now.saturating_duration_since(then) < span)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relay and a clock.
    struct Relay {
        alertness: Alertness,
        now: Instant,
    }

    impl Relay {
        fn new() -> Self {
            let now = Instant::now();
            Self {
                alertness: Alertness::new(now),
                now,
            }
        }

        /// Shown a lease that ran out long ago where it does not run, and one that is renewed where it does.
        fn look(
            &mut self,
            after_ms: u64,
            transactions: usize,
            lease_runs: bool,
            xmin: u64,
        ) -> Next {
            let until = if lease_runs { 2 } else { 1 };
            self.shown(after_ms, transactions, until, lease_runs, xmin)
        }

        fn shown(
            &mut self,
            after_ms: u64,
            transactions: usize,
            until: i64,
            runs: bool,
            xmin: u64,
        ) -> Next {
            self.now += Duration::from_millis(after_ms);
            self.alertness.next(&Shown {
                at: self.now,
                transactions,
                open: 0,
                lease: Lease { until, runs },
                xmin,
            })
        }

        /// From the start to calm.
        fn calm() -> Self {
            let mut relay = Self::new();
            assert_eq!(relay.look(1, 0, false, 10), Next::Fence);
            relay.alertness.fenced(10);
            assert_eq!(relay.look(1, 0, false, 10), Next::Listen);
            relay
        }
    }

    #[test]
    fn a_session_begins_awake_and_is_calm_only_behind_the_fence() {
        let mut relay = Relay::new();
        assert_eq!(
            relay.shown(1, 0, 7, true, 5),
            Next::Look(OFTEN),
            "a lease runs"
        );
        assert_eq!(relay.shown(2, 0, 7, false, 5), Next::Fence);
        relay.alertness.fenced(9);
        for _ in 0..2 {
            assert!(
                matches!(relay.shown(2, 0, 7, false, 8), Next::Look(_)),
                "a silent writer may still be open"
            );
        }
        assert_eq!(relay.shown(2, 0, 7, false, 9), Next::Listen);
    }

    #[test]
    fn another_relays_lease_wakes_a_calm_one_and_breaks_off_the_way_to_sleep() {
        let mut relay = Relay::calm();
        assert_eq!(relay.shown(50, 0, 7, true, 10), Next::Look(OFTEN));
        assert_eq!(relay.shown(2, 0, 7, false, 10), Next::Fence);
        relay.alertness.fenced(20);
        assert_eq!(
            relay.shown(2, 0, 8, true, 20),
            Next::Look(OFTEN),
            "the fence was too early"
        );
        assert_eq!(relay.shown(2, 0, 8, false, 20), Next::Fence);
        relay.alertness.fenced(30);
        assert_eq!(relay.shown(2, 0, 8, false, 30), Next::Listen);
    }

    #[test]
    fn a_lease_that_was_extended_and_has_run_out_again_between_two_looks_asks_for_a_fence() {
        let mut relay = Relay::calm();
        assert_eq!(relay.shown(900, 0, 7, false, 10), Next::Fence, "calm");
        relay.alertness.fenced(20);
        assert_eq!(relay.shown(900, 0, 8, false, 20), Next::Fence, "fenced");
        relay.alertness.fenced(30);
        assert_eq!(relay.shown(900, 0, 8, false, 30), Next::Listen);
    }

    #[test]
    fn many_transactions_make_it_busy_until_they_end_and_a_few_do_not() {
        let mut relay = Relay::calm();
        for _ in 0..100 {
            assert_eq!(
                relay.look(5, 1, false, 10),
                Next::Listen,
                "two hundred a second are no load"
            );
        }
        let mut extended = 0;
        for _ in 0..200 {
            extended += usize::from(relay.look(5, 10, extended > 0, 10) == Next::Extend);
        }
        assert!(
            (7..=9).contains(&extended),
            "renewed at half-life in one second, {extended} times"
        );
        let mut next = Next::Extend;
        for _ in 0..200 {
            next = relay.look(5, 0, true, 10);
        }
        assert_eq!(next, Next::Look(OFTEN), "the lease still runs");
        assert_eq!(relay.look(5, 0, false, 10), Next::Fence);
    }

    #[test]
    fn writers_who_queue_for_the_bell_are_load_however_few_they_are() {
        let mut relay = Relay::calm();
        let seen = |relay: &mut Relay, open, runs| {
            relay.now += Duration::from_millis(10);
            let shown = Shown {
                at: relay.now,
                transactions: 1,
                open,
                lease: Lease { until: 7, runs },
                xmin: 10,
            };
            let next = relay.alertness.next(&shown);
            (next, relay.alertness.suspects_a_queue(&shown), shown)
        };
        let mut asked = 0;
        for _ in 0..100 {
            asked += usize::from(seen(&mut relay, 1, false).1);
        }
        assert_eq!(asked, 0, "one alone queues for nothing");
        for _ in 0..100 {
            asked += usize::from(seen(&mut relay, 2, false).1);
        }
        assert_eq!(asked, 20, "every 50 ms");
        let (_, _, shown) = seen(&mut relay, 2, false);
        assert_eq!(relay.alertness.queue(&shown), Next::Extend);
        assert_eq!(
            seen(&mut relay, 2, true).0,
            Next::Look(OFTEN),
            "a hundred a second would not be enough"
        );
        for _ in 0..98 {
            assert!(!seen(&mut relay, 2, true).1, "nobody rings under a lease");
        }
        assert_eq!(seen(&mut relay, 0, false).0, Next::Fence, "a second later");
    }

    #[test]
    fn a_fence_behind_a_long_transaction_is_asked_for_ever_more_rarely_but_within_a_bound() {
        let mut relay = Relay::new();
        assert_eq!(relay.look(1, 0, false, 5), Next::Fence);
        relay.alertness.fenced(9);
        let mut pause = Duration::ZERO;
        for _ in 0..20 {
            let Next::Look(longer) = relay.look(100, 0, false, 5) else {
                panic!("look on")
            };
            assert!(longer >= pause && longer <= SLOWEST);
            pause = longer;
        }
        assert_eq!(pause, SLOWEST);
    }
}
