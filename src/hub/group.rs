//! Equal subscriptions are one group: what they get is chosen, kept and encoded once.
//!
//! Groups are found by what they filter on, so that a batch costs what it concerns and not what is subscribed: ten
//! thousand widgets that each follow one operation are not asked about the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::Notify;

use super::backlog::Backlog;
use super::filter::Filter;
use super::frame::{Frame, Told};
use super::subscriber::{Losses, Outbox};
use super::told;
use crate::event::{Effect, Event, Topic};

/// What makes subscriptions equal: the same frames serve them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupKey {
    pub(crate) sub: Arc<str>,
    pub(crate) filter: Filter,
}

type GroupId = u64;

#[derive(Debug)]
struct Group {
    key: GroupKey,
    members: BTreeMap<u64, Arc<Outbox>>,
    /// What they have yet to get.
    backlog: Arc<Backlog>,
    /// The snapshot since the last event, for the next who asks.
    snapshot: Option<Vec<Frame>>,
}

/// All subscriptions.
#[derive(Debug)]
pub(crate) struct Groups {
    /// Of each group's backlog, for either mode.
    max_bytes: usize,
    losses: Arc<Losses>,
    groups: BTreeMap<GroupId, Group>,
    ids: HashMap<GroupKey, GroupId>,
    by_operation: HashMap<Box<str>, BTreeSet<GroupId>>,
    by_owner: HashMap<Box<str>, BTreeSet<GroupId>>,
    /// Those that neither index can find.
    broad: BTreeSet<GroupId>,
    next_id: GroupId,
    /// The groups that have a snapshot.
    with_snapshot: Vec<GroupId>,
}

/// Where a group is found.
enum Index<'a> {
    Operations(&'a BTreeSet<Box<str>>),
    Owners(&'a BTreeSet<Box<str>>),
    Broad,
}

fn index(filter: &Filter) -> Index<'_> {
    if !filter.is_about_operations() {
        Index::Broad
    } else if !filter.operation_ids.is_empty() {
        Index::Operations(&filter.operation_ids)
    } else if !filter.owners.is_empty() {
        Index::Owners(&filter.owners)
    } else {
        Index::Broad
    }
}

impl Groups {
    pub(crate) fn new(max_bytes: usize, losses: Arc<Losses>) -> Self {
        Self {
            max_bytes,
            losses,
            groups: BTreeMap::new(),
            ids: HashMap::new(),
            by_operation: HashMap::new(),
            by_owner: HashMap::new(),
            broad: BTreeSet::new(),
            next_id: 0,
            with_snapshot: Vec::new(),
        }
    }

    /// Makes the member one of the group; returns what the group has yet to get.
    pub(crate) fn join(
        &mut self,
        key: &GroupKey,
        member: u64,
        outbox: &Arc<Outbox>,
    ) -> Arc<Backlog> {
        let id = match self.ids.get(key) {
            Some(id) => *id,
            None => self.add(key),
        };
        let group = self.groups.entry(id).or_insert_with(|| Group {
            key: key.clone(),
            members: BTreeMap::new(),
            backlog: Arc::new(Backlog::new(
                key.sub.clone(),
                self.max_bytes,
                self.losses.clone(),
            )),
            snapshot: None,
        });
        group.members.insert(member, outbox.clone());
        group.backlog.clone()
    }

    fn add(&mut self, key: &GroupKey) -> GroupId {
        self.next_id += 1;
        let id = self.next_id;
        match index(&key.filter) {
            Index::Operations(operations) => {
                operations.iter().for_each(|operation| {
                    _ = self
                        .by_operation
                        .entry(operation.clone())
                        .or_default()
                        .insert(id)
                });
            }
            Index::Owners(owners) => {
                owners.iter().for_each(|owner| {
                    _ = self.by_owner.entry(owner.clone()).or_default().insert(id)
                });
            }
            Index::Broad => _ = self.broad.insert(id),
        }
        self.ids.insert(key.clone(), id);
        id
    }

    /// Takes the member out of a group that it joined.
    pub(crate) fn leave(&mut self, key: &GroupKey, member: u64) {
        let Some(id) = self.ids.get(key).copied() else {
            return;
        };
        let empty = self.groups.get_mut(&id).is_some_and(|group| {
            group.members.remove(&member);
            group.members.is_empty()
        });
        if empty {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: GroupId) {
        let Some(group) = self.groups.remove(&id) else {
            return;
        };
        self.ids.remove(&group.key);
        match index(&group.key.filter) {
            Index::Operations(operations) => operations
                .iter()
                .for_each(|operation| unlink(&mut self.by_operation, operation, id)),
            Index::Owners(owners) => owners
                .iter()
                .for_each(|owner| unlink(&mut self.by_owner, owner, id)),
            Index::Broad => _ = self.broad.remove(&id),
        }
    }

    /// Hands the batch to everyone whom it concerns; returns whom to wake.
    pub(crate) fn deliver(&self, events: &[Arc<Event>], cursor: &Arc<str>) -> Vec<Arc<Notify>> {
        let mut chosen: BTreeMap<GroupId, Vec<Told>> = BTreeMap::new();
        for event in events {
            for id in self.concerned(event) {
                if let Some(told) = self
                    .groups
                    .get(&id)
                    .and_then(|group| told(&group.key.filter, event))
                {
                    chosen.entry(id).or_default().push(told);
                }
            }
        }
        let mut woken = Vec::new();
        for (id, events) in chosen {
            if let Some(group) = self.groups.get(&id) {
                woken.extend(group.backlog.push(cursor, events));
            }
        }
        woken
    }

    /// The groups that may want the event.
    fn concerned(&self, event: &Event) -> BTreeSet<GroupId> {
        if event.effect == Effect::Truncated {
            return self.groups.keys().copied().collect();
        }
        let mut concerned = self.broad.clone();
        if matches!(event.topic, Topic::Operations | Topic::Errors) {
            let owners = [Some(&event.row.keys), event.before.as_deref()];
            let owners = owners
                .into_iter()
                .flatten()
                .filter_map(|keys| keys.owner.as_ref());
            let found = owners.filter_map(|owner| self.by_owner.get(owner));
            for ids in found.chain(self.by_operation.get(&event.row.entity)) {
                concerned.extend(ids);
            }
        }
        concerned
    }

    /// The snapshot of the group at the hub's cursor, where somebody has asked for it since the last event.
    pub(crate) fn snapshot(&self, key: &GroupKey) -> Option<&[Frame]> {
        self.groups.get(self.ids.get(key)?)?.snapshot.as_deref()
    }

    pub(crate) fn keep_snapshot(&mut self, key: &GroupKey, frames: &[Frame]) {
        let Some(id) = self.ids.get(key).copied() else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&id) {
            group.snapshot = Some(frames.to_vec());
            self.with_snapshot.push(id);
        }
    }

    /// Something has changed: the snapshots are not the present state any more.
    pub(crate) fn forget_snapshots(&mut self) {
        for id in self.with_snapshot.drain(..) {
            if let Some(group) = self.groups.get_mut(&id) {
                group.snapshot = None;
            }
        }
    }

    /// Bytes of events that wait for members.
    pub(crate) fn backlog_bytes(&self) -> usize {
        let backlogs = self.groups.values().map(|group| group.backlog.bytes());
        backlogs.sum()
    }

    /// The outboxes of all subscriptions, one for each subscription.
    pub(crate) fn outboxes(&self) -> impl Iterator<Item = Arc<Outbox>> {
        self.groups
            .values()
            .flat_map(|group| group.members.values().cloned())
    }
}

fn unlink(index: &mut HashMap<Box<str>, BTreeSet<GroupId>>, key: &str, id: GroupId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
