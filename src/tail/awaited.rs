//! Operations whose end is waited for, and how they ended. Pure.

use std::collections::{BTreeSet, HashSet};

use super::rows::Operation;

/// What is waited for, and how it went.
#[derive(Debug)]
pub(super) struct Awaited {
    remaining: BTreeSet<String>,
    pub(super) failed: usize,
    pub(super) cancelled: usize,
    pub(super) deleted: usize,
}

impl Awaited {
    pub(super) fn new(ids: Vec<String>) -> Self {
        Self {
            remaining: ids.into_iter().collect(),
            failed: 0,
            cancelled: 0,
            deleted: 0,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.remaining.is_empty()
    }

    /// Whether none of those that have ended so far ended badly.
    pub(super) fn went_well(&self) -> bool {
        self.failed + self.cancelled + self.deleted == 0
    }

    /// Those still waited for that are not among the given.
    pub(super) fn without(&self, known: &HashSet<String>) -> Vec<String> {
        let unknown = self.remaining.iter().filter(|id| !known.contains(*id));
        unknown.cloned().collect()
    }

    /// Strikes an ended operation off; whether it was waited for.
    pub(super) fn ended(&mut self, operation: &Operation) -> bool {
        if !self.remaining.remove(&operation.id) {
            return false;
        }
        match operation.status.as_str() {
            "failed" => self.failed += 1,
            "cancelled" => self.cancelled += 1,
            _ => {}
        }
        true
    }

    /// Strikes a deleted operation off.
    pub(super) fn deleted(&mut self, id: &str) {
        self.deleted += usize::from(self.remaining.remove(id));
    }

    /// Strikes all off: there is no operation any more.
    pub(super) fn all_deleted(&mut self) {
        self.deleted += self.remaining.len();
        self.remaining.clear();
    }
}
