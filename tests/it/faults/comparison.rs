//! What a subscriber was told, against what was committed.

use std::collections::{BTreeMap, BTreeSet};

use bellwether::cursor::Snapshot;
use serde_json::Value;
use tokio_postgres::Client;

use super::recorder::{Chapter, Mode, Record, Told};

/// What is in the database.
pub(crate) struct Truth {
    /// The log, each event with its transaction.
    log: BTreeMap<Told, u64>,
    operations: BTreeMap<String, Value>,
}

impl Truth {
    /// Reads it, in one snapshot.
    pub(crate) async fn read(client: &Client) -> Self {
        client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL TimeZone = 'UTC'")
            .await
            .expect("begun");
        let events = "SELECT id, xid::text, type, revision,
                CASE topic WHEN 'errors' THEN 'error ' || (payload ->> 'id') ELSE entity END
            FROM bellwether.event WHERE topic IN ('operations', 'errors')";
        let events = client.query(events, &[]).await.expect("the log");
        let operations = "SELECT id::text, row_to_json(o)::text FROM sync_operations o";
        let operations = client.query(operations, &[]).await.expect("the table");
        client.batch_execute("COMMIT").await.expect("read");
        let event = |row: &tokio_postgres::Row| {
            let told = Told {
                id: row.get(0),
                kind: row.get(2),
                revision: row.get(3),
                row: row.get(4),
            };
            (told, row.get::<_, &str>(1).parse().expect("a number"))
        };
        let operation = |row: &tokio_postgres::Row| {
            let data = serde_json::from_str(row.get(1)).expect("JSON");
            (row.get(0), data)
        };
        Self {
            log: events.iter().map(event).collect(),
            operations: operations.iter().map(operation).collect(),
        }
    }

    /// What a subscriber's record lacks so far, and what it got wrong; empty when it is complete.
    pub(crate) fn differences(&self, mode: Mode, record: &Record) -> Vec<String> {
        let mut differences: Vec<_> = record.chapters.iter().flat_map(disorder).collect();
        let Some((chapter, from)) = record
            .chapters
            .last()
            .and_then(|chapter| Some((chapter, &chapter.from.as_ref()?.seen)))
        else {
            return vec!["no snapshot".to_owned()];
        };
        let told: BTreeSet<_> = chapter.events.iter().collect();
        let owed = self.owed(from);
        differences.extend(
            told.difference(&owed)
                .map(|told| format!("never was: {told:?}")),
        );
        if mode == Mode::Every {
            differences.extend(
                owed.difference(&told)
                    .map(|told| format!("missing: {told:?}")),
            );
        }
        for id in self.operations.keys().chain(record.screen.keys()) {
            let (row, shown) = (self.operations.get(id), record.screen.get(id));
            // A snapshot and an event have a key more where the operation is stalled.
            let differs = |key| row.map(|row| &row[key]) != shown.map(|row| &row[key]);
            let keys = [
                "revision",
                "status",
                "processed_items",
                "message",
                "updated_at",
            ];
            if keys.into_iter().any(differs) {
                differences.push(format!("operation {id} is {row:?} and shown as {shown:?}"));
            }
        }
        differences.truncate(20);
        differences
    }

    /// What a subscriber that began at a snapshot is owed.
    fn owed(&self, from: &Snapshot) -> BTreeSet<&Told> {
        let unseen = self.log.iter().filter(|(_, xid)| !from.sees(**xid));
        unseen.map(|(told, _)| told).collect()
    }
}

/// What came twice, and what came after something newer of the same row.
fn disorder(chapter: &Chapter) -> Vec<String> {
    let (mut ids, mut revisions) = (BTreeSet::new(), BTreeMap::<&str, i64>::new());
    let mut wrong = Vec::new();
    for told in &chapter.events {
        if !ids.insert(told.id) {
            wrong.push(format!("twice: {told:?}"));
        }
        let before = revisions.insert(&told.row, told.revision);
        if before.is_some_and(|before| before > told.revision) {
            wrong.push(format!("out of order, after revision {before:?}: {told:?}"));
        }
    }
    wrong
}
