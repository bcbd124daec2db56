//! What is in the world.

use super::Broken;
use super::Rule;
use crate::alertness::Phase;

pub(super) const WRITERS: usize = 3;
pub(super) const RELAYS: usize = 2;

/// Until when looking often is promised, as an order: 0 has run out, and of the others the lowest runs out first.
pub(super) type Until = u8;

/// A lease so far ahead that nobody can have promised it: the clock has jumped.
pub(super) const FAR: Until = Until::MAX;

/// A set of relays.
pub(super) type Relays = u8;

/// Everything, at one instant.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct World {
    pub(super) writers: [Writer; WRITERS],
    pub(super) relays: [Relay; RELAYS],
    pub(super) lease: Until,
}

/// A transaction that is running and has an id. Ids are known by what is above and below them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Transaction {
    /// The relays whose fence is above it.
    pub(super) fences: Relays,
    /// Its place among the running ones; 0 where no rule asks.
    pub(super) order: u8,
    /// Whether one above it has completed; `false` where no rule asks.
    pub(super) is_below_xmax: bool,
}

/// One transaction after the other, each with one event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Writer {
    Idle,
    /// Has its snapshot.
    Begun(Snapshot),
    /// Has inserted its event, and so has a transaction id.
    Inserted(Transaction, Snapshot),
    /// Has read the lease; without a transaction id only where a rule is broken.
    Decided(Option<Transaction>, bool),
    /// These relays have yet to read its event.
    Committed(Relays),
}

/// How old a writer's transaction is; nothing where no rule asks.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Snapshot {
    /// Whether the lease runs by the time at which the transaction began.
    pub(super) runs: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Relay {
    pub(super) phase: Phase,
    pub(super) doing: Doing,
    /// Of the lease, by another session of the relay while it goes on looking.
    pub(super) extension: Extension,
    /// A ring to the others for an extension that has committed: it is on its way.
    pub(super) owes_a_ring: bool,
    pub(super) listens: bool,
    /// A notification has arrived that it has not taken notice of.
    pub(super) rung: bool,
    /// The lease has been set since it last read it.
    pub(super) moved: bool,
    /// A ring for it died with the relay that had extended the lease: not promised, the tick will do.
    pub(super) forsaken: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Doing {
    /// Dead, or without a session.
    Nothing,
    Waiting,
    /// Has read the events of a snapshot; whether the fence was passed in it.
    Looking { passed: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Extension {
    /// None is being made.
    Nothing,
    /// Has the lock, and has read the lease.
    Locked {
        held: Until,
        rings: bool,
    },
    /// Has read the clock.
    Computed {
        held: Until,
        rings: bool,
        until: Until,
    },
    /// Has set the lease (which gives it a transaction id).
    Extended {
        transaction: Transaction,
        held: Until,
        rings: bool,
    },
    /// Knows whether it owes a ring.
    Checked {
        transaction: Transaction,
        rings: bool,
    },
}

impl Relay {
    const NEW: Self = Self {
        phase: Phase::Awake,
        doing: Doing::Nothing,
        extension: Extension::Nothing,
        owes_a_ring: false,
        listens: false,
        rung: false,
        moved: false,
        forsaken: false,
    };

    pub(super) fn dead() -> Self {
        Self::NEW
    }

    pub(super) fn has_the_lock(&self) -> bool {
        self.extension != Extension::Nothing
    }

    /// Will not look unless it is woken.
    pub(super) fn sleeps(&self) -> bool {
        self.doing == Doing::Waiting && self.phase == Phase::Calm && !self.rung
    }

    fn untils(&mut self) -> [Option<&mut Until>; 2] {
        match &mut self.extension {
            Extension::Locked { held, .. } | Extension::Extended { held, .. } => [Some(held), None],
            Extension::Computed { held, until, .. } => [Some(held), Some(until)],
            _ => [None, None],
        }
    }

    fn transaction(&mut self) -> Option<&mut Transaction> {
        match &mut self.extension {
            Extension::Extended { transaction, .. } | Extension::Checked { transaction, .. } => {
                Some(transaction)
            }
            _ => None,
        }
    }
}

impl Writer {
    fn transaction(&mut self) -> Option<&mut Transaction> {
        match self {
            Self::Inserted(transaction, _) | Self::Decided(Some(transaction), _) => {
                Some(transaction)
            }
            _ => None,
        }
    }

    pub(super) fn snapshot(&mut self) -> Option<&mut Snapshot> {
        match self {
            Self::Begun(snapshot) | Self::Inserted(_, snapshot) => Some(snapshot),
            _ => None,
        }
    }
}

impl World {
    /// No lease runs, nobody writes, no relay is there yet.
    pub(super) fn beginning() -> Self {
        Self {
            writers: [Writer::Idle; WRITERS],
            relays: [Relay::dead(); RELAYS],
            lease: 0,
        }
    }

    /// An event is committed, and a relay sleeps that has not read it.
    pub(super) fn loses_an_event(&self) -> bool {
        // Whoever is about to ring for an extension may yet wake it.
        let may_ring = |relay: &Relay| relay.has_the_lock() || relay.owes_a_ring;
        !self.relays.iter().any(may_ring)
            && self.relays.iter().enumerate().any(|(relay, state)| {
                let unread = |writer: &Writer| matches!(writer, Writer::Committed(unread) if unread & 1 << relay != 0);
                state.sleeps() && !state.forsaken && self.writers.iter().any(unread)
            })
    }

    /// All is read, every relay sleeps and every writer would ring.
    pub(super) fn rests(&self) -> bool {
        self.lease == 0
            && self.relays.iter().all(Relay::sleeps)
            && !self.relays.iter().any(|relay| relay.owes_a_ring)
            && self.writers.iter().all(|writer| *writer == Writer::Idle)
    }

    pub(super) fn transactions(&mut self) -> impl Iterator<Item = &mut Transaction> {
        let writers = self.writers.iter_mut().filter_map(Writer::transaction);
        writers.chain(self.relays.iter_mut().filter_map(Relay::transaction))
    }

    fn untils(&mut self) -> impl Iterator<Item = &mut Until> {
        let relays = self.relays.iter_mut().flat_map(Relay::untils).flatten();
        std::iter::once(&mut self.lease).chain(relays)
    }

    /// The promise that anybody makes now ends after all that were made before.
    pub(super) fn longest(&mut self) -> Until {
        let live = self.untils().map(|until| *until);
        live.filter(|until| *until != FAR).max().unwrap_or(0) + 1
    }

    /// The oldest promise runs out.
    pub(super) fn run_out(&mut self) -> bool {
        let live = |until: &Until| !matches!(*until, 0 | FAR);
        let any = self.untils().any(|until| live(until));
        self.untils()
            .filter(|until| live(until))
            .for_each(|until| *until -= 1);
        any
    }

    /// The clock goes back so far that every promise is far ahead.
    pub(super) fn jump(&mut self) {
        self.untils().for_each(|until| *until = FAR);
    }

    /// Hands out a transaction id.
    pub(super) fn begin(&mut self, broken: Broken) -> Transaction {
        let highest = self
            .transactions()
            .map(|transaction| transaction.order)
            .max();
        Transaction {
            fences: 0,
            order: if broken == Some(Rule::FenceIsAnXmax) {
                highest.unwrap_or(0) + 1
            } else {
                0
            },
            is_below_xmax: false,
        }
    }

    /// A transaction has completed (and is no longer among the running ones).
    pub(super) fn complete(&mut self, completed: Transaction) {
        self.transactions()
            .filter(|running| running.order < completed.order)
            .for_each(|running| running.is_below_xmax = true);
    }

    /// The same world for everybody who sees no names: writers are interchangeable, and so are relays; ids and promises
    /// count by their order.
    pub(super) fn canonical(mut self) -> Self {
        self.rank_untils();
        self.rank_transactions();
        let mut other = self.clone();
        other.relays.swap(0, 1);
        let swapped = |set: Relays| set & !3 | (set & 1) << 1 | (set & 2) >> 1;
        other
            .transactions()
            .for_each(|transaction| transaction.fences = swapped(transaction.fences));
        for writer in &mut other.writers {
            if let Writer::Committed(unread) = writer {
                *unread = swapped(*unread);
            }
        }
        self.writers.sort_unstable();
        other.writers.sort_unstable();
        self.min(other)
    }

    fn rank_untils(&mut self) {
        // None is skipped above 1 but by a promise that nobody remembers.
        let mut rank = 1;
        while let Some(next) = self
            .untils()
            .map(|until| *until)
            .filter(|until| (rank..FAR).contains(until))
            .min()
        {
            self.untils()
                .filter(|until| **until == next)
                .for_each(|until| *until = rank);
            rank += 1;
        }
    }

    fn rank_transactions(&mut self) {
        let mut rank = 1;
        while let Some(next) = self
            .transactions()
            .map(|running| running.order)
            .filter(|order| *order >= rank)
            .min()
        {
            self.transactions()
                .filter(|running| running.order == next)
                .for_each(|running| running.order = rank);
            rank += 1;
        }
    }
}
