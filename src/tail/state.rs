//! What `tail` knows, and what each frame changes about it. Pure: a frame and the time go in, effects come out; neither
//! sockets nor screens are known here.
//!
//! A row is upserted by topic and entity, an event older than what is held is passed over, `left` and deletions drop a
//! row. Only active operations are held whole; of everything else the revision, in bounded memory.

use std::collections::{HashMap, HashSet};

use super::{
    awaited::Awaited,
    contact::{Contact, Now},
    effect::Effect,
    frame::{CatchingUp, Event, Frame, Snapshot, Subscribed},
    revisions::{Revisions, Taken},
    rows::{self, Connection, Health, ItemError, Operation},
};

/// Of more rows than this, the revisions of those met first are forgotten.
const MOST_REVISIONS: usize = 50_000;
/// The events that end an operation.
const ENDINGS: [&str; 3] = [
    "operation.completed",
    "operation.failed",
    "operation.cancelled",
];

/// An active operation.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) operation: Operation,
    /// Grows with each one that is met.
    pub(super) order: u64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct State {
    /// The operations that have not ended, by id.
    pub(super) operations: HashMap<String, Held>,
    met: u64,
    revisions: Revisions,
    pub(super) health: Option<Health>,
    pub(super) contact: Contact,
    /// Where to resume from; none until the first snapshot is whole.
    pub(super) cursor: Option<String>,
    /// A snapshot is on its way: a cursor that comes before it would skip it.
    awaits_snapshot: bool,
    /// The operations of the snapshot that is arriving.
    arriving: HashSet<String>,
    once: bool,
    pub(super) awaited: Option<Awaited>,
}

impl State {
    /// Knows nothing yet. With `awaited` it is finished when these operations have ended, with `once` when the first
    /// snapshot has been told.
    pub(super) fn new(cursor: Option<String>, once: bool, awaited: Option<Vec<String>>) -> Self {
        Self {
            operations: HashMap::new(),
            met: 0,
            revisions: Revisions::new(MOST_REVISIONS),
            health: None,
            contact: Contact::new(),
            cursor,
            awaits_snapshot: false,
            arriving: HashSet::new(),
            once,
            awaited: awaited.map(Awaited::new),
        }
    }

    /// A connection has been made, on which a snapshot will come or not.
    pub(super) fn connected(&mut self, now: Now, snapshot_follows: bool) {
        self.contact.connected(now);
        self.awaits_snapshot = false;
        if snapshot_follows {
            self.begin_anew();
        }
    }

    /// What is known will be replaced by a snapshot: only it tells which revisions are older, since they may be those
    /// of another database. Active operations are held on to, so that it shows which have ended.
    fn begin_anew(&mut self) {
        self.cursor = None;
        self.awaits_snapshot = true;
        self.arriving.clear();
        self.revisions.forget_all();
    }

    /// Takes in a frame.
    pub(super) fn apply(&mut self, frame: Frame, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        match frame {
            Frame::Hello(hello) => self.contact.greeted(&hello),
            Frame::Status(status) => {
                if self.contact.says(status.clone()) {
                    effects.push(Effect::Relay(status));
                }
            }
            Frame::Subscribed(Subscribed { cursor }) | Frame::CatchingUp(CatchingUp { cursor }) => {
                if let Some(cursor) = cursor {
                    self.advance(cursor);
                }
            }
            Frame::Snapshot(snapshot) => self.snapshot(*snapshot, &mut effects),
            Frame::Events(frame) => {
                for event in frame.events {
                    self.event(event, &mut effects);
                }
                put_cursor_on_last_event(&mut effects, &frame.cursor);
                self.advance(frame.cursor);
            }
            Frame::Heartbeat(heartbeat) => {
                self.contact.beat(&heartbeat, now);
                self.advance(heartbeat.cursor);
            }
            Frame::Reset(reset) => {
                self.begin_anew();
                effects.push(Effect::Reset(reset));
            }
            Frame::Error(_) | Frame::Closing(_) | Frame::Other => {}
        }
        self.finish_when_nothing_remains(&mut effects);
        effects
    }

    /// Takes in what the relay answered about an operation that was asked for: its row, or that there is none.
    pub(super) fn looked_up(&mut self, id: &str, row: Option<Operation>) -> Vec<Effect> {
        let mut effects = Vec::new();
        match row {
            Some(operation) if operation.has_ended() => {
                self.settle(&operation);
                effects.push(Effect::Ended(operation));
            }
            Some(_) => {}
            None => effects.push(Effect::Note(format!(
                "operation {id} is not known yet; waiting for it"
            ))),
        }
        self.finish_when_nothing_remains(&mut effects);
        effects
    }

    fn advance(&mut self, cursor: String) {
        if !self.awaits_snapshot {
            self.cursor = Some(cursor);
        }
    }

    fn snapshot(&mut self, snapshot: Snapshot, effects: &mut Vec<Effect>) {
        for data in snapshot.operations {
            let operation: Operation = rows::read(&data);
            self.arriving.insert(operation.id.clone());
            let (id, revision) = (operation.id.clone(), operation.revision);
            if self
                .is_newest("operations", id, revision, Some(operation.status.clone()))
                .is_some()
            {
                self.operation(operation, false, effects);
            }
            effects.push(Effect::Row {
                topic: "operations",
                kind: "snapshot.operation",
                data,
            });
        }
        for data in snapshot.connections {
            let connection: Connection = rows::read(&data);
            let Connection {
                client_id,
                revision,
                status,
                ..
            } = connection;
            self.is_newest("connections", client_id, revision, Some(status));
            effects.push(Effect::Row {
                topic: "connections",
                kind: "snapshot.connection",
                data,
            });
        }
        if let Some(data) = snapshot.health {
            self.health = Some(rows::read(&data));
            effects.push(Effect::Row {
                topic: "health",
                kind: "snapshot.health",
                data,
            });
        }
        if snapshot.part >= snapshot.parts {
            if snapshot.complete == Some(false) {
                let note = "not everything that is active fits into the relay's snapshot";
                effects.push(Effect::Note(note.to_owned()));
            }
            self.end_snapshot(snapshot.cursor, effects);
        }
    }

    /// Everything that a whole snapshot lacks is no longer there.
    fn end_snapshot(&mut self, cursor: Option<String>, effects: &mut Vec<Effect>) {
        let arrived = std::mem::take(&mut self.arriving);
        let gone: Vec<String> = self
            .operations
            .keys()
            .filter(|id| !arrived.contains(*id))
            .cloned()
            .collect();
        for id in gone {
            if let Some(held) = self.operations.remove(&id) {
                effects.push(Effect::Vanished(held.operation));
            }
        }
        self.awaits_snapshot = false;
        self.cursor = cursor.or(self.cursor.take());
        effects.push(Effect::SnapshotEnd {
            cursor: self.cursor.clone(),
        });
        let unknown = self
            .awaited
            .as_ref()
            .map(|awaited| awaited.without(&arrived));
        if let Some(unknown) = unknown.filter(|unknown| !unknown.is_empty()) {
            effects.push(Effect::LookUp(unknown));
        }
        if self.once {
            effects.push(Effect::Finished);
        }
    }

    fn event(&mut self, event: Event, effects: &mut Vec<Effect>) {
        if event.kind == "table.truncated" {
            return self.truncated(event, effects);
        }
        let Event {
            raw,
            topic,
            kind,
            entity,
            revision,
            left,
            data,
        } = event;
        let is_deleted = kind.ends_with(".deleted");
        let about = effects.len();
        match topic.as_str() {
            "operations" => {
                let operation: Operation = rows::read(&data);
                let status = Some(operation.status.clone());
                if self
                    .is_newest(&topic, entity.clone(), revision, status)
                    .is_none()
                {
                    return;
                }
                if is_deleted {
                    self.deleted(&entity, effects);
                } else {
                    let ends = ENDINGS.contains(&kind.as_str());
                    self.operation(operation, ends, effects);
                    if left {
                        self.operations.remove(&entity);
                    }
                }
            }
            "errors" => {
                // Revisions are of the error's own row; its entity is the operation.
                let error: ItemError = rows::read(&data);
                if self
                    .is_newest(&topic, error.id.to_string(), revision, None)
                    .is_none()
                {
                    return;
                }
                if !is_deleted {
                    let operation = self
                        .operations
                        .get(&entity)
                        .map(|held| held.operation.clone());
                    effects.push(Effect::ItemFailed(error, operation));
                }
            }
            "connections" => {
                let connection: Connection = rows::read(&data);
                let status = Some(connection.status.clone());
                let Some(before) = self.is_newest(&topic, entity, revision, status.clone()) else {
                    return;
                };
                if !is_deleted && before != status {
                    effects.push(Effect::Connection(connection));
                }
            }
            "health" => {
                if self.is_newest(&topic, entity, revision, None).is_none() {
                    return;
                }
                if !is_deleted {
                    self.measured(rows::read(&data), effects);
                }
            }
            _ => {}
        }
        effects.insert(about, Effect::Event { raw, cursor: None });
    }

    /// Offers a row's revision; the status before it (none where it was not known), or nothing where it is older.
    fn is_newest(
        &mut self,
        topic: &str,
        entity: String,
        revision: i64,
        status: Option<String>,
    ) -> Option<Option<String>> {
        match self
            .revisions
            .offer((topic.to_owned(), entity), revision, status)
        {
            Taken::Older => None,
            Taken::Newest { status_before } => Some(status_before),
        }
    }

    /// Holds an active operation, and lets go of one that has ended. `ends` says that it does so in this moment; else it
    /// is told of only where it had been thought active.
    fn operation(&mut self, operation: Operation, ends: bool, effects: &mut Vec<Effect>) {
        let id = operation.id.clone();
        if operation.has_ended() {
            let was_held = self.operations.remove(&id).is_some();
            let is_awaited = self.settle(&operation);
            if was_held || is_awaited || ends {
                effects.push(Effect::Ended(operation));
            }
            return;
        }
        let at_work = |status: &str| status != "pending";
        let begins = at_work(&operation.status)
            && !self
                .operations
                .get(&id)
                .is_some_and(|held| at_work(&held.operation.status));
        if begins {
            effects.push(Effect::Begun(operation.clone()));
        }
        self.met += 1;
        let met = self.met;
        let held = self.operations.entry(id).or_insert_with(|| Held {
            operation: Operation::default(),
            order: met,
        });
        held.operation = operation;
    }

    fn deleted(&mut self, id: &str, effects: &mut Vec<Effect>) {
        if let Some(held) = self.operations.remove(id) {
            effects.push(Effect::Vanished(held.operation));
        }
        if let Some(awaited) = &mut self.awaited {
            awaited.deleted(id);
        }
    }

    fn measured(&mut self, health: Health, effects: &mut Vec<Effect>) {
        let is_news = self
            .health
            .as_ref()
            .is_none_or(|before| before.status != health.status);
        if is_news {
            effects.push(Effect::Health(health.clone()));
        }
        self.health = Some(health);
    }

    fn truncated(&mut self, event: Event, effects: &mut Vec<Effect>) {
        effects.push(Effect::Event {
            raw: event.raw,
            cursor: None,
        });
        effects.push(Effect::Truncated(event.entity));
        self.revisions.forget_topic(&event.topic);
        match event.topic.as_str() {
            "operations" => {
                self.operations.clear();
                if let Some(awaited) = &mut self.awaited {
                    awaited.all_deleted();
                }
            }
            "health" => self.health = None,
            _ => {}
        }
    }

    /// Strikes an ended operation off what is waited for; whether it was on it.
    fn settle(&mut self, operation: &Operation) -> bool {
        let awaited = self.awaited.as_mut();
        awaited.is_some_and(|awaited| awaited.ended(operation))
    }

    fn finish_when_nothing_remains(&self, effects: &mut Vec<Effect>) {
        if self.awaited.as_ref().is_some_and(Awaited::is_over) {
            effects.push(Effect::Finished);
        }
    }
}

/// A reader that has the last event of a frame has all of it.
fn put_cursor_on_last_event(effects: &mut [Effect], frame_cursor: &str) {
    let last = effects.iter_mut().rev().find_map(|effect| match effect {
        Effect::Event { cursor, .. } => Some(cursor),
        _ => None,
    });
    if let Some(cursor) = last {
        *cursor = Some(frame_cursor.to_owned());
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
