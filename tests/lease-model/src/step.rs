//! What may happen next.

use std::fmt;

use super::world::{Doing, Extension, FAR, RELAYS, Relay, Snapshot, Until, WRITERS, World, Writer};
use super::{Broken, Rule};
use crate::alertness::{Phase, Seen};

/// Something that happens: who, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Writer(usize, &'static str),
    Relay(usize, &'static str),
    World(&'static str),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writer(number, what) => write!(f, "writer {}: {what}", number + 1),
            Self::Relay(number, what) => write!(f, "relay {}: {what}", number + 1),
            Self::World(what) => f.write_str(what),
        }
    }
}

const BEGINS: &str = "begins";
const DIES: &str = "dies";
const COMES: &str = "listens and is awake";
const TURNS_BUSY: &str = "reads the lease: busy";
const EXTENDS: &str = "takes the lock and reads the lease";
const JUMPS: &str = "the clock jumps back";

impl Step {
    /// Whether it also happens where nobody begins to write and nothing dies.
    pub(super) fn is_quiet(self) -> bool {
        !matches!(
            self,
            Self::Writer(_, BEGINS)
                | Self::Relay(_, DIES | TURNS_BUSY | EXTENDS)
                | Self::World(JUMPS)
        )
    }
}

/// Whether the writer, or a relay, takes the lease for one that runs.
fn runs(until: Until, trusts_far: bool) -> bool {
    until != 0 && (until != FAR || trusts_far)
}

impl World {
    /// Everything that may happen next, in the protocol as it is or with one rule broken.
    pub(super) fn next(&self, broken: Broken) -> Vec<(Step, Self)> {
        let mut all = Vec::new();
        for number in 0..WRITERS {
            self.writer(number, broken, &mut |what, world| {
                all.push((Step::Writer(number, what), world))
            });
        }
        for number in 0..RELAYS {
            self.relay(number, broken, &mut |what, world| {
                all.push((Step::Relay(number, what), world))
            });
        }
        let mut later = self.clone();
        if later.run_out() {
            all.push((Step::World("the oldest promise runs out"), later));
        }
        if matches!(
            broken,
            Some(Rule::WritersTrustALeaseFarAhead | Rule::EverybodyTrustsALeaseFarAhead)
        ) && self.lease != FAR
        {
            let mut back = self.clone();
            back.jump();
            all.push((Step::World(JUMPS), back));
        }
        all
    }

    fn writer(&self, number: usize, broken: Broken, then: &mut impl FnMut(&'static str, Self)) {
        let becomes = |writer| {
            let mut world = self.clone();
            world.writers[number] = writer;
            world
        };
        let runs = |until| {
            let trusts = matches!(
                broken,
                Some(Rule::WritersTrustALeaseFarAhead | Rule::EverybodyTrustsALeaseFarAhead)
            );
            runs(until, trusts)
        };
        match self.writers[number] {
            Writer::Idle => {
                let snapshot = Snapshot {
                    runs: broken == Some(Rule::WritersClockStandsStill) && runs(self.lease),
                };
                then(BEGINS, becomes(Writer::Begun(snapshot)));
            }
            Writer::Begun(_) if broken == Some(Rule::LeaseIsReadBeforeTheEventIsInserted) => {
                then(
                    "reads the lease",
                    becomes(Writer::Decided(None, !runs(self.lease))),
                );
            }
            Writer::Begun(snapshot) => {
                let mut world = self.clone();
                world.writers[number] = Writer::Inserted(world.begin(broken), snapshot);
                then("inserts its event", world);
            }
            Writer::Inserted(transaction, snapshot) => {
                let mut decides = |silent: bool| {
                    let what = if silent {
                        "reads the lease: will be silent"
                    } else {
                        "reads the lease: will ring"
                    };
                    then(what, becomes(Writer::Decided(Some(transaction), !silent)));
                };
                decides(runs(self.lease) || snapshot.runs);
            }
            Writer::Decided(None, rings) => {
                let mut world = self.clone();
                world.writers[number] = Writer::Decided(Some(world.begin(broken)), rings);
                then("inserts its event", world);
            }
            Writer::Decided(Some(transaction), rings) => {
                let mut committed = becomes(Writer::Committed((1 << RELAYS) - 1));
                committed.complete(transaction);
                if rings {
                    committed.ring();
                }
                then(
                    if rings {
                        "commits and rings"
                    } else {
                        "commits silently"
                    },
                    committed,
                );
                let mut rolled_back = becomes(Writer::Idle);
                rolled_back.complete(transaction);
                then("rolls back", rolled_back);
            }
            Writer::Committed(unread) => {
                let dead = |(number, _): &(usize, &Relay)| unread & 1 << number == 0;
                let alive = |(_, relay): (usize, &Relay)| relay.doing != Doing::Nothing;
                let mut lacking = self.relays.iter().enumerate().filter(|relay| !dead(relay));
                if !lacking.any(alive) {
                    then(
                        "is forgotten, only the dead have not read it",
                        becomes(Writer::Idle),
                    );
                }
            }
        }
    }

    /// A notification reaches everyone who listens.
    fn ring(&mut self) {
        self.relays
            .iter_mut()
            .for_each(|relay| relay.rung |= relay.listens);
    }

    /// The lease is what it is now.
    fn set(&mut self, until: Until, broken: Broken) {
        self.lease = until;
        self.relays
            .iter_mut()
            .filter(|relay| relay.doing != Doing::Nothing)
            .for_each(|relay| relay.moved = broken != Some(Rule::OnlyARunningLeaseCounts));
        if broken == Some(Rule::WritersClockStandsStill) {
            let snapshots = self.writers.iter_mut().filter_map(Writer::snapshot);
            snapshots.for_each(|snapshot| snapshot.runs = true);
        }
    }

    fn relay(&self, number: usize, broken: Broken, then: &mut impl FnMut(&'static str, Self)) {
        let relay = self.relays[number];
        let becomes = |relay| {
            let mut world = self.clone();
            world.relays[number] = relay;
            world
        };
        if relay.doing != Doing::Nothing {
            then(DIES, self.dies(number));
        }
        match relay.doing {
            Doing::Nothing => {
                let phase = if broken == Some(Rule::SessionBeginsCalm) {
                    Phase::Calm
                } else {
                    Phase::Awake
                };
                let listens = broken != Some(Rule::ListensLate);
                then(
                    COMES,
                    becomes(Relay {
                        phase,
                        listens,
                        doing: Doing::Waiting,
                        ..relay
                    }),
                );
            }
            Doing::Waiting if relay.phase == Phase::Fenced(None) => {
                // By the session that extends the lease, one statement after the other.
                if relay.extension == Extension::Nothing {
                    then("takes a fence", self.takes_a_fence(number, broken));
                }
            }
            Doing::Waiting => {
                if relay.rung {
                    then(
                        "hears the bell and looks",
                        self.looks(number, false, broken),
                    );
                }
                then("looks", self.looks(number, relay.rung, broken));
            }
            Doing::Looking { passed } => {
                for (busy, what) in [(true, TURNS_BUSY), (false, "reads the lease")] {
                    then(what, self.decides(number, busy, passed, broken));
                }
            }
        }
        if relay.doing != Doing::Nothing {
            self.extends(number, broken, then);
        }
        if relay.owes_a_ring {
            let mut world = becomes(Relay {
                owes_a_ring: false,
                ..relay
            });
            world.ring();
            then("rings for the others", world);
        }
    }

    /// An extension that the relay has asked for while it was busy. What was asked for may be long on its way; meanwhile the
    /// relay goes on looking, and may have come to think otherwise, up to the fence, for which the same session is
    /// needed.
    fn extends(&self, number: usize, broken: Broken, then: &mut impl FnMut(&'static str, Self)) {
        let relay = self.relays[number];
        let becomes = |extension| {
            let mut world = self.clone();
            world.relays[number].extension = extension;
            world
        };
        match relay.extension {
            Extension::Nothing => {
                let may_be_on_its_way = matches!(
                    relay.phase,
                    Phase::Busy | Phase::Awake | Phase::Fenced(None)
                );
                let locked = self.relays.iter().any(Relay::has_the_lock);
                if may_be_on_its_way
                    && (!locked || broken == Some(Rule::NoLockAmongExtenders))
                {
                    let rings = broken == Some(Rule::ClockIsReadBeforeTheExtension)
                        && self.has_run_out(self.lease, broken);
                    let held = self.lease;
                    then(EXTENDS, becomes(Extension::Locked { held, rings }));
                }
            }
            Extension::Locked { held, rings } => {
                let until = self.clone().longest();
                then(
                    "reads the clock",
                    becomes(Extension::Computed { held, rings, until }),
                );
            }
            Extension::Computed { held, rings, until } => {
                let mut world = self.clone();
                let transaction = world.begin(broken);
                world.set(until, broken);
                world.relays[number].extension = Extension::Extended {
                    transaction,
                    held,
                    rings,
                };
                then("sets the lease", world);
            }
            Extension::Extended {
                transaction,
                held,
                rings,
            } => {
                let rings = match broken {
                    Some(Rule::NoRingForAnExtension) => false,
                    Some(Rule::ClockIsReadBeforeTheExtension) => rings,
                    _ => self.has_run_out(held, broken),
                };
                let what = if rings {
                    "sees that the lease had run out"
                } else {
                    "sees that the lease had not run out"
                };
                then(
                    what,
                    becomes(Extension::Checked { transaction, rings }),
                );
            }
            Extension::Checked { transaction, rings } => {
                let mut world = becomes(Extension::Nothing);
                world.complete(transaction);
                world.relays[number].owes_a_ring |= rings;
                then("commits the extension", world);
            }
        }
    }

    /// What a relay believes.
    fn has_run_out(&self, until: Until, broken: Broken) -> bool {
        !runs(until, broken == Some(Rule::EverybodyTrustsALeaseFarAhead))
    }

    fn dies(&self, number: usize) -> Self {
        let mut world = self.clone();
        let relay = self.relays[number];
        let (transaction, would_owe) = match relay.extension {
            Extension::Extended {
                transaction, held, ..
            } => (Some(transaction), matches!(held, 0 | FAR)),
            Extension::Checked {
                transaction, rings, ..
            } => (Some(transaction), rings),
            _ => (None, false),
        };
        world.relays[number] = Relay::dead();
        world.unfence(number);
        if let Some(transaction) = transaction {
            world.complete(transaction);
        }
        if relay.owes_a_ring || would_owe {
            let others = world
                .relays
                .iter_mut()
                .filter(|relay| relay.doing != Doing::Nothing);
            others.for_each(|relay| relay.forsaken = true);
        }
        world
    }

    fn takes_a_fence(&self, number: usize, broken: Broken) -> Self {
        let mut world = self.clone();
        world.relays[number].phase = Phase::Fenced(Some(1));
        for running in world.transactions() {
            if broken != Some(Rule::FenceIsAnXmax) || running.is_below_xmax {
                running.fences |= 1 << number;
            }
        }
        world
    }

    fn unfence(&mut self, number: usize) {
        self.transactions()
            .for_each(|running| running.fences &= !(1 << number));
    }

    /// Reads what is committed, and who is running.
    fn looks(&self, number: usize, keeps_the_ring: bool, broken: Broken) -> Self {
        let mut world = self.clone();
        for writer in &mut world.writers {
            if let Writer::Committed(unread) = writer {
                *unread &= !(1 << number);
                if *unread == 0 {
                    *writer = Writer::Idle;
                }
            }
        }
        let passed = world.passes(number, broken);
        let relay = &mut world.relays[number];
        relay.rung = keeps_the_ring;
        relay.doing = Doing::Looking { passed };
        world
    }

    /// Whether the relay's fence is passed in a snapshot taken now.
    fn passes(&mut self, number: usize, broken: Broken) -> bool {
        broken == Some(Rule::FenceIsPassedByXmax)
            || !self
                .transactions()
                .any(|running| running.fences & 1 << number != 0)
    }

    /// Reads the lease, and makes up its mind.
    fn decides(&self, number: usize, busy: bool, passed: bool, broken: Broken) -> Self {
        let mut world = self.clone();
        let passed = match broken {
            Some(Rule::NoLookBehindTheFence) => world.passes(number, broken),
            _ => passed,
        };
        let relay = &mut world.relays[number];
        let lease_runs = !self.has_run_out(self.lease, broken);
        let lease_moved = std::mem::take(&mut relay.moved);
        let seen = Seen {
            busy,
            lease_runs,
            lease_moved,
            xmin: passed.into(),
        };
        relay.phase = relay.phase.after(seen);
        if broken == Some(Rule::NoFence) && relay.phase == Phase::Fenced(None) {
            relay.phase = Phase::Calm;
        }
        relay.doing = Doing::Waiting;
        relay.forsaken = false;
        relay.listens |= relay.phase == Phase::Calm;
        relay.rung &= broken != Some(Rule::RingsDuringALookAreForgotten);
        if relay.phase != Phase::Fenced(Some(1)) {
            world.unfence(number);
        }
        world
    }
}
