//! What really happened: the event log and the tables, when all is over.

use std::collections::{BTreeMap, BTreeSet};

use bellwether::cursor::Snapshot;
use serde_json::Value;
use tokio_postgres::Client;

use super::subscribers::Filter;

/// One row of the log.
pub(super) struct Logged {
    pub(super) id: i64,
    pub(super) xid: u64,
    pub(super) topic: String,
    pub(super) kind: String,
    pub(super) entity: String,
    pub(super) revision: i64,
    pub(super) payload: Value,
    /// What a filter may have matched before.
    before: Value,
}

impl Logged {
    /// Whether the filter gets it, and then whether the row has left.
    pub(super) fn told(&self, filter: &Filter) -> Option<bool> {
        if !filter.topics.contains(&self.topic.as_str()) {
            return None;
        }
        if self.kind == "table.truncated"
            || filter.matches(&self.topic, &self.entity, &self.payload)
        {
            return Some(false);
        }
        filter
            .matches(&self.topic, &self.entity, &self.before)
            .then_some(true)
    }

    /// Which row it is about. An error's entity is its operation.
    pub(super) fn row(&self) -> (String, String, String) {
        row(&self.topic, &self.entity, &self.payload)
    }
}

pub(super) fn row(topic: &str, entity: &str, data: &Value) -> (String, String, String) {
    let own = if topic == "errors" {
        data["id"].to_string()
    } else {
        String::new()
    };
    (topic.to_owned(), entity.to_owned(), own)
}

/// All events by id, and the rows that there are.
pub(super) struct Log {
    pub(super) events: BTreeMap<i64, Logged>,
    pub(super) operations: BTreeMap<String, Value>,
    pub(super) connections: BTreeMap<String, Value>,
    /// Those that wrote the events. Others need not ring, so a relay need not learn of them.
    transactions: BTreeSet<u64>,
}

const EVENTS: &str = "SELECT id, xid::text, topic, type, entity, revision, coalesce(payload, bellwether.row_in_utc(operation))::text,
    coalesce(changed_from, '{}')::text
    FROM bellwether.event ORDER BY id";

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("PostgreSQL writes JSON")
}

impl Log {
    /// One state of the database.
    pub(super) async fn read(client: &Client) -> Self {
        let begin = "SET TimeZone = 'UTC'; SET extra_float_digits = 1; BEGIN ISOLATION LEVEL REPEATABLE READ";
        client.batch_execute(begin).await.expect("begun");
        let mut events = BTreeMap::new();
        for row in client.query(EVENTS, &[]).await.expect("the log") {
            let payload = json(row.get(6));
            let mut before = payload.clone();
            for (name, old) in json(row.get(7)).as_object().expect("an object") {
                before[name] = old.clone();
            }
            let event = Logged {
                id: row.get(0),
                xid: row.get::<_, &str>(1).parse().expect("a number"),
                topic: row.get(2),
                kind: row.get(3),
                entity: row.get(4),
                revision: row.get(5),
                payload,
                before,
            };
            events.insert(event.id, event);
        }
        let rows = async |table: &str, key: &str| {
            let query = format!("SELECT {key}::text, row_to_json(t)::text FROM {table} t");
            let rows = client.query(&query, &[]).await.expect("the rows");
            let pairs = rows.iter().map(|row| (row.get(0), json(row.get(1))));
            pairs.collect::<BTreeMap<String, Value>>()
        };
        let operations = rows("sync_operations", "id").await;
        let connections = rows("connection_status", "client_id").await;
        client.batch_execute("COMMIT").await.expect("committed");
        Self {
            transactions: events.values().map(|event| event.xid).collect(),
            events,
            operations,
            connections,
        }
    }

    /// Whether all that is in here is visible in a snapshot.
    pub(super) fn is_seen_in(&self, snapshot: &Snapshot) -> bool {
        self.transactions.iter().all(|xid| snapshot.sees(*xid))
    }
}
