//! The present state in memory: what a new subscriber is served instead of a query.
//!
//! It is fed by the same batches as everyone else, so it always *is* the state at the hub's cursor. It holds every
//! active operation and the most recent ended ones, the connections, and the latest health snapshot; each shelf is
//! bounded, and says when it could not hold everything that is active.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::filter::Filter;
use crate::event::{Effect, Event, Row, Topic};

/// How many dropped rows are remembered, so that a late event of an older revision does not bring one back.
const REMEMBERED_DROPS: usize = 1_024;

/// How much the mirror holds.
#[derive(Clone, Copy, Debug)]
pub struct MirrorLimits {
    /// Ended operations and closed connections that are kept, each.
    pub recent: usize,
    /// Rows of a table that are kept at most, active ones included.
    pub rows: usize,
}

impl Default for MirrorLimits {
    fn default() -> Self {
        Self {
            recent: 200,
            rows: 50_000,
        }
    }
}

/// The present state of everything that a dashboard shows.
#[derive(Debug)]
pub struct Mirror {
    operations: Shelf,
    connections: Shelf,
    health: Option<Arc<Row>>,
}

impl Mirror {
    /// An empty mirror.
    pub fn new(limits: MirrorLimits) -> Self {
        Self {
            operations: Shelf::new(limits),
            connections: Shelf::new(limits),
            health: None,
        }
    }

    /// Puts a row in as it was loaded, the oldest first.
    pub fn load(&mut self, topic: Topic, row: Row) {
        let row = Arc::new(row);
        match topic {
            Topic::Operations => self.operations.put(row),
            Topic::Connections => self.connections.put(row),
            Topic::Health => self.health = Some(row),
            Topic::Errors => {}
        }
    }

    /// Says that a table had more rows than were loaded.
    pub fn mark_incomplete(&mut self) {
        self.operations.complete = false;
    }

    /// Takes in one event, in the order of the log.
    pub fn apply(&mut self, event: &Event) {
        match event.topic {
            Topic::Operations => self.operations.apply(event),
            Topic::Connections => self.connections.apply(event),
            Topic::Health => self.apply_health(event),
            Topic::Errors => {}
        }
    }

    fn apply_health(&mut self, event: &Event) {
        let number = |row: &Row| row.entity.parse::<i64>().unwrap_or(0);
        let newest = self
            .health
            .as_deref()
            .is_none_or(|held| number(&event.row) >= number(held));
        match event.effect {
            Effect::Truncated => self.health = None,
            Effect::Deleted
                if self
                    .health
                    .as_deref()
                    .is_some_and(|held| held.entity == event.row.entity) =>
            {
                self.health = None
            }
            Effect::Upserted if newest => self.health = Some(event.row.clone()),
            Effect::Deleted | Effect::Upserted => {}
        }
    }

    /// The rows that belong into a subscription's snapshot, cheap to take.
    pub fn view(&self, filter: &Filter) -> View {
        View {
            operations: self.operations.matching(Topic::Operations, filter),
            connections: self.connections.matching(Topic::Connections, filter),
            health: self
                .health
                .clone()
                .filter(|row| filter.matches(Topic::Health, row)),
            complete: self.operations.complete && self.connections.complete,
        }
    }
}

/// The rows of one snapshot.
#[derive(Clone, Debug)]
pub struct View {
    /// Operations, the longest untouched first.
    pub operations: Vec<Arc<Row>>,
    /// Connections, the longest untouched first.
    pub connections: Vec<Arc<Row>>,
    /// The latest health snapshot.
    pub health: Option<Arc<Row>>,
    /// Whether every active row is among them.
    pub complete: bool,
}

/// The rows of one table: by entity, and by how recently they were touched, the ended ones first to go.
#[derive(Debug)]
struct Shelf {
    limits: MirrorLimits,
    rows: HashMap<Box<str>, (Place, Arc<Row>)>,
    places: BTreeMap<Place, Box<str>>,
    touches: u64,
    ended: usize,
    complete: bool,
    drops: Drops,
}

/// The last revisions of rows that were dropped, the oldest of them first to be forgotten.
#[derive(Debug, Default)]
struct Drops {
    revisions: HashMap<Box<str>, i64>,
    order: VecDeque<(Box<str>, i64)>,
}

impl Drops {
    fn remember(&mut self, entity: &str, revision: i64) {
        let newest = self.revisions.entry(entity.into()).or_insert(revision);
        *newest = revision.max(*newest);
        self.order.push_back((entity.into(), revision));
        if self.order.len() > REMEMBERED_DROPS
            && let Some((oldest, revision)) = self.order.pop_front()
            && self
                .revisions
                .get(&oldest)
                .is_some_and(|newest| *newest <= revision)
        {
            self.revisions.remove(&oldest);
        }
    }

    /// Whether the row was dropped after it had been as this one says.
    fn supersede(&self, row: &Row) -> bool {
        self.revisions
            .get(&row.entity)
            .is_some_and(|revision| *revision > row.revision)
    }
}

/// Where a row stands in the queue of those that may go: ended ones before active ones, then the longest untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    active: bool,
    touched: u64,
}

impl Shelf {
    fn new(limits: MirrorLimits) -> Self {
        Self {
            limits,
            rows: HashMap::new(),
            places: BTreeMap::new(),
            touches: 0,
            ended: 0,
            complete: true,
            drops: Drops::default(),
        }
    }

    fn apply(&mut self, event: &Event) {
        match event.effect {
            Effect::Truncated => {
                *self = Self {
                    touches: self.touches,
                    ..Self::new(self.limits)
                }
            }
            Effect::Deleted => self.drop_row(&event.row),
            Effect::Upserted => {
                if !self.drops.supersede(&event.row)
                    && self
                        .rows
                        .get(&event.row.entity)
                        .is_none_or(|(_, held)| held.revision <= event.row.revision)
                {
                    self.put(event.row.clone());
                }
            }
        }
    }

    fn put(&mut self, row: Arc<Row>) {
        self.remove(&row.entity);
        let active = !(row.has_ended() || row.keys.status.as_deref() == Some("disconnected"));
        self.touches += 1;
        let place = Place {
            active,
            touched: self.touches,
        };
        self.ended += usize::from(!active);
        self.places.insert(place, row.entity.clone());
        self.rows.insert(row.entity.clone(), (place, row));
        while self.ended > self.limits.recent || self.rows.len() > self.limits.rows {
            let Some((place, entity)) = self
                .places
                .first_key_value()
                .map(|(place, entity)| (*place, entity.clone()))
            else {
                break;
            };
            self.complete &= !place.active;
            self.remove(&entity);
        }
    }

    fn drop_row(&mut self, row: &Row) {
        if self
            .rows
            .get(&row.entity)
            .is_some_and(|(_, held)| held.revision > row.revision)
        {
            return; // it has been inserted anew
        }
        self.remove(&row.entity);
        self.drops.remember(&row.entity, row.revision);
    }

    fn remove(&mut self, entity: &str) {
        if let Some((place, _)) = self.rows.remove(entity) {
            self.places.remove(&place);
            self.ended -= usize::from(!place.active);
        }
    }

    fn matching(&self, topic: Topic, filter: &Filter) -> Vec<Arc<Row>> {
        if !filter.topics.contains(&topic) {
            return Vec::new();
        }
        let rows = self
            .places
            .values()
            .filter_map(|entity| self.rows.get(entity))
            .map(|(_, row)| row);
        rows.filter(|row| filter.matches(topic, row))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::operation_event;

    fn held(mirror: &Mirror) -> Vec<(String, i64)> {
        let view = mirror.view(&Filter::topics(Topic::ALL));
        view.operations
            .iter()
            .map(|row| (row.entity.to_string(), row.revision))
            .collect()
    }

    #[test]
    fn an_older_revision_never_replaces_a_newer_one_nor_brings_a_dropped_row_back() {
        let mut mirror = Mirror::new(MirrorLimits::default());
        mirror.apply(&operation_event(
            1,
            "a",
            5,
            "operation.progress",
            "in_progress",
            None,
        ));
        mirror.apply(&operation_event(
            2,
            "a",
            4,
            "operation.progress",
            "in_progress",
            None,
        ));
        assert_eq!(held(&mirror), [("a".to_owned(), 5)]);
        mirror.apply(&operation_event(
            3,
            "a",
            6,
            "operation.deleted",
            "in_progress",
            None,
        ));
        mirror.apply(&operation_event(
            4,
            "a",
            5,
            "operation.progress",
            "in_progress",
            None,
        ));
        assert_eq!(held(&mirror), []);
        mirror.apply(&operation_event(
            5,
            "a",
            900,
            "operation.created",
            "pending",
            None,
        ));
        assert_eq!(held(&mirror), [("a".to_owned(), 900)]);
    }

    #[test]
    fn a_delete_that_is_logged_after_the_row_was_inserted_anew_keeps_the_new_row() {
        let mut mirror = Mirror::new(MirrorLimits::default());
        mirror.apply(&operation_event(
            10,
            "a",
            900,
            "operation.created",
            "pending",
            None,
        ));
        mirror.apply(&operation_event(
            11,
            "a",
            6,
            "operation.deleted",
            "in_progress",
            None,
        ));
        assert_eq!(held(&mirror), [("a".to_owned(), 900)]);
    }

    #[test]
    fn ended_rows_go_first_and_an_active_one_that_had_to_go_is_admitted() {
        let mut mirror = Mirror::new(MirrorLimits { recent: 1, rows: 2 });
        mirror.apply(&operation_event(
            1,
            "a",
            1,
            "operation.created",
            "in_progress",
            None,
        ));
        mirror.apply(&operation_event(
            2,
            "b",
            1,
            "operation.completed",
            "completed",
            None,
        ));
        mirror.apply(&operation_event(
            3,
            "c",
            1,
            "operation.completed",
            "completed",
            None,
        ));
        assert_eq!(held(&mirror), [("c".to_owned(), 1), ("a".to_owned(), 1)]);
        assert!(mirror.view(&Filter::topics(Topic::ALL)).complete);
        mirror.apply(&operation_event(
            4,
            "d",
            1,
            "operation.created",
            "in_progress",
            None,
        ));
        mirror.apply(&operation_event(
            5,
            "e",
            1,
            "operation.created",
            "in_progress",
            None,
        ));
        assert_eq!(held(&mirror), [("d".to_owned(), 1), ("e".to_owned(), 1)]);
        assert!(!mirror.view(&Filter::topics(Topic::ALL)).complete);
    }

    #[test]
    fn an_emptied_table_empties_the_shelf() {
        let mut mirror = Mirror::new(MirrorLimits::default());
        mirror.apply(&operation_event(
            1,
            "a",
            1,
            "operation.created",
            "pending",
            None,
        ));
        mirror.apply(&operation_event(
            2,
            "sync_operations",
            0,
            "table.truncated",
            "",
            None,
        ));
        assert_eq!(held(&mirror), []);
    }
}
