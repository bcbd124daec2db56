//! Visits every state that can be reached, the nearest first, so that what it finds is the shortest story.

use std::fmt::Write;

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use super::Broken;
use super::step::Step;
use super::world::World;

/// What was found.
pub enum Found {
    /// How an event is lost, or how the world never comes to rest again: step by step.
    Lost(String),
    /// Nothing of the kind, in so many states.
    Nothing(usize),
}

/// All states so far, and how each was reached first.
struct Visited {
    states: IndexSet<World, FxBuildHasher>,
    reached: Vec<Option<u32>>,
}

/// Explores the protocol as it is, or with one rule broken, until an event is lost; then, if asked for, whether relays
/// can turn calm again from everywhere once nobody writes.
pub fn explore(broken: Broken, rests: bool) -> Found {
    let mut visited = Visited {
        states: IndexSet::default(),
        reached: Vec::new(),
    };
    visited.visit(World::beginning().canonical(), None);
    let mut came_quietly: Vec<(u32, u32)> = Vec::new();
    let mut current = 0;
    while let Some(world) = visited.states.get_index(current).cloned() {
        let here = number(current);
        if world.loses_an_event() {
            return Found::Lost(visited.story(here, broken));
        }
        for (step, next) in world.next(broken) {
            let there = visited.visit(next.canonical(), Some(here));
            if rests && step.is_quiet() {
                came_quietly.push((there, here));
            }
        }
        current += 1;
    }
    match rests.then(|| visited.restless(came_quietly)).flatten() {
        Some(state) => Found::Lost(visited.story(state, broken)),
        None => Found::Nothing(visited.states.len()),
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than four billion states")
}

impl Visited {
    fn visit(&mut self, world: World, from: Option<u32>) -> u32 {
        let (index, is_new) = self.states.insert_full(world);
        if is_new {
            self.reached.push(from);
        }
        number(index)
    }

    /// A state from which quiet steps do not lead to rest.
    fn restless(&self, mut came_quietly: Vec<(u32, u32)>) -> Option<u32> {
        came_quietly.sort_unstable();
        let mut leads: Vec<bool> = self.states.iter().map(World::rests).collect();
        let mut open: Vec<u32> = (0..number(leads.len()))
            .filter(|state| leads[*state as usize])
            .collect();
        while let Some(state) = open.pop() {
            let first = came_quietly.partition_point(|(there, _)| *there < state);
            for (_, here) in came_quietly[first..]
                .iter()
                .take_while(|(there, _)| *there == state)
            {
                if !std::mem::replace(&mut leads[*here as usize], true) {
                    open.push(*here);
                }
            }
        }
        leads.iter().position(|leads| !leads).map(number)
    }

    /// The steps that lead to a state. States are kept without names, so the way is gone once more, with names.
    fn story(&self, state: u32, broken: Broken) -> String {
        let mut way = vec![state];
        while let Some(before) = way.last().and_then(|state| self.reached[*state as usize]) {
            way.push(before);
        }
        let mut story = String::new();
        let mut world = World::beginning();
        for (number, state) in way.iter().rev().skip(1).enumerate() {
            let arrives = |(_, next): &(Step, World)| {
                next.clone().canonical() == self.states[*state as usize]
            };
            let Some((step, next)) = world.next(broken).into_iter().find(arrives) else {
                unreachable!("worlds that differ in names only have the same future");
            };
            let _ = writeln!(story, "{:>4}. {step}", number + 1);
            world = next;
        }
        story
    }
}
