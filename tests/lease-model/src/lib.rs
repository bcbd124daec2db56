//! The doorbell lease as a small world, explored state by state.
//!
//! In it are relays and writers as the rules of the essay make them, and everything that the rules do not decide may
//! happen at any time: a writer goes on, a relay looks, a promise runs out, a relay dies and comes back, the clock jumps.
//! What a relay makes of a look is decided by the code itself, `Phase::after` in `src/source/alertness.rs`.
//!
//! What is true to PostgreSQL:
//! - a writer has its transaction id once it has inserted its event, however old its snapshot is by then; it may end by
//!   a commit or a rollback at any later time;
//! - the lease is a sequence: it is set at once, whatever becomes of the transaction, and read as it is;
//! - a notification is delivered when its transaction commits, to those who listen then; that of a relay for its
//!   extension is a transaction of its own, at any time after that one;
//! - a look reads what is committed at one instant and learns which transactions were running at that instant (xmin),
//!   and reads the lease at a later one;
//! - xmax is the last completed transaction + 1, which is not above all that are running.
//!
//! (A lease in a row of a table would lose nothing either: a writer's old snapshot makes it ring, and an extension that
//! takes hold with its commit holds back every fence until then. The sequence is for what it costs.)
//!
//! Time is only an order: promises run out one after the other, the oldest first, at any moment. The safety tick does
//! not exist. An event is lost when it is committed, a calm relay has not read it, and nobody is about to wake it.
//!
//! Every rule can be broken ([`Rule`]), and then [`explore`] must find how an event is lost: `tests/it/lease_model.rs`.

#[allow(dead_code, reason = "only its Phase is asked")]
#[path = "../../../src/source/alertness.rs"]
mod alertness;
mod explore;
mod step;
mod world;

pub use self::explore::{Found, explore};

/// The rules of the protocol, each one by what happens where it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The trigger reads the lease before it has inserted the event, and so before it has a transaction id.
    LeaseIsReadBeforeTheEventIsInserted,
    /// The trigger compares the lease with `now()`, the time when its transaction began.
    WritersClockStandsStill,
    /// A relay turns calm as soon as it sees that no lease runs.
    NoFence,
    /// The fence is the xmax of a snapshot and not a transaction id of its own.
    FenceIsAnXmax,
    /// Waits for the snapshot's xmax, and not its xmin, to reach the fence.
    FenceIsPassedByXmax,
    /// Learns that the fence is passed after it has read the events, and does not look again.
    NoLookBehindTheFence,
    /// Extends a lease that had run out without a ring.
    NoRingForAnExtension,
    /// Asks whether the lease has run out before it is extended and not after.
    ClockIsReadBeforeTheExtension,
    /// Two relays may extend the lease at the same time.
    NoLockAmongExtenders,
    /// A session begins calm.
    SessionBeginsCalm,
    /// Goes by whether a lease runs at the look, and not by whether it has moved since the one before.
    OnlyARunningLeaseCounts,
    /// A ring that is heard during a look is forgotten at its end.
    RingsDuringALookAreForgotten,
    /// A session listens only when it turns calm.
    ListensLate,
    /// Writers take a lease far ahead for one that runs; relays do not.
    WritersTrustALeaseFarAhead,
    /// Nobody takes a lease far ahead for one that has run out.
    EverybodyTrustsALeaseFarAhead,
}

/// The protocol as it is, or with one rule broken.
pub type Broken = Option<Rule>;
