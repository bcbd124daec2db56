//! Every frame and every event that a relay sends, against the JSON Schema and the AsyncAPI document.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_postgres::Client;

use super::{Schemas, assert_valid};
use crate::support::relay::{Relay, Subscriber, text};
use crate::support::{TestDatabase, eventually};

/// Writes that make every type of event but those of stalled operations.
const WRITES: &str = "
    INSERT INTO sync_operations (id, operation_type, owner, total_items) VALUES ('00000000-0000-0000-0000-00000000000a', 'upload', 'ann', 4);
    UPDATE sync_operations SET status = 'in_progress';
    UPDATE sync_operations SET processed_items = 1, message = 'a <b> \u{1f511}', current_item = E'a\\nb';
    UPDATE sync_operations SET status = 'paused';
    UPDATE sync_operations SET status = 'in_progress';
    UPDATE sync_operations SET status = 'pending';
    SELECT record_sync_error('00000000-0000-0000-0000-00000000000a', 'denied', 'b.txt', 'EACCES', '{\"path\": \"/b\"}');
    UPDATE sync_operation_errors SET message = 'denied again';
    UPDATE sync_operations SET status = 'completed', entities_encountered = '{\"invoice\": 3}';
    INSERT INTO sync_operations (operation_type, status, error) VALUES ('upload', 'failed', 'no');
    INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'cancelled');
    SELECT report_connection('app', 'connected', 12.5, 1, '10.0.0.1', 'a program', '{\"a\": 1}');
    SELECT report_connection('app', 'error');
    SELECT report_connection('app', 'disconnected');
    SELECT create_sync_status_snapshot();
    SELECT create_sync_status_snapshot();
    DELETE FROM sync_operation_errors;
    DELETE FROM sync_operations WHERE status = 'completed';
    DELETE FROM connection_status WHERE client_id = 'app';
    DELETE FROM sync_status_snapshots;
    TRUNCATE sync_status_snapshots";

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../docs/api/schema.json")).expect("JSON")
}

/// The schemas whose `type` is a constant, by that constant.
fn by_type(names: &Value) -> BTreeSet<(String, String)> {
    let schema = schema();
    let references = names["oneOf"].as_array().expect("a choice").iter();
    references
        .map(|reference| {
            let name = text(&reference["$ref"])
                .rsplit('/')
                .next()
                .expect("a name")
                .to_owned();
            let kind = text(&schema["$defs"][&name]["properties"]["type"]["const"]);
            (kind, name)
        })
        .collect()
}

/// The types of events that the schema knows.
fn event_types() -> BTreeSet<String> {
    let schema = schema();
    let choices = schema["$defs"]["Event"]["oneOf"]
        .as_array()
        .expect("a choice")
        .clone();
    let types = choices.iter().flat_map(|reference| {
        let name = text(&reference["$ref"])
            .rsplit('/')
            .next()
            .expect("a name")
            .to_owned();
        let kind = schema["$defs"][&name]["properties"]["type"].clone();
        match kind["const"].as_str() {
            Some(only) => vec![only.to_owned()],
            None => kind["enum"]
                .as_array()
                .expect("types")
                .iter()
                .map(text)
                .collect(),
        }
    });
    types.collect()
}

/// Checks frames and remembers what was seen.
struct Checker {
    schemas: Schemas,
    frames: BTreeSet<(String, String)>,
    seen: BTreeSet<String>,
    events: BTreeSet<String>,
}

impl Checker {
    fn new() -> Self {
        Self {
            schemas: Schemas::strict(schema(), "/$defs"),
            frames: by_type(&schema()["$defs"]["Frame"]),
            seen: BTreeSet::new(),
            events: BTreeSet::new(),
        }
    }

    fn check(&mut self, frame: &Value) {
        let kind = text(&frame["type"]);
        let (_, name) = self
            .frames
            .iter()
            .find(|(known, _)| *known == kind)
            .unwrap_or_else(|| panic!("no frame is described as {kind}"));
        for event in frame["events"].as_array().into_iter().flatten() {
            let name = match (
                text(&event["type"]).as_str(),
                text(&event["topic"]).as_str(),
            ) {
                ("table.truncated", _) => "TruncatedEvent",
                (_, "operations") => "OperationEvent",
                (_, "errors") => "ErrorEvent",
                (_, "connections") => "ConnectionEvent",
                _ => "HealthEvent",
            };
            assert_valid(&self.schemas.named(name), event, name);
            self.events.insert(text(&event["type"]));
        }
        assert_valid(&self.schemas.named(name), frame, &kind);
        assert!(
            self.schemas.named("Frame").is_valid(frame),
            "exactly one frame: {frame}"
        );
        self.seen.insert(kind);
    }

    async fn until(&mut self, subscriber: &mut Subscriber, enough: impl Fn(&Self, &Value) -> bool) {
        let mut is_over = false;
        while !is_over {
            let frame = subscriber.next().await.expect("open");
            self.check(&frame);
            is_over = enough(self, &frame);
        }
    }
}

/// Keeps the log from a relay that is starting, and so its subscribers from being live.
struct Lock(Client);

impl Lock {
    async fn hold(database: &TestDatabase) -> Self {
        let client = database.client().await;
        let hold = "BEGIN; LOCK TABLE bellwether.event IN ACCESS EXCLUSIVE MODE";
        client.batch_execute(hold).await.expect("locked");
        Self(client)
    }

    async fn release(self) {
        self.0.batch_execute("ROLLBACK").await.expect("released");
    }
}

async fn marked(client: &Client, after: &str) {
    eventually("operations are marked", async || {
        let statement = format!("SELECT bellwether.mark_stalled('{after}') > 0");
        client
            .query_one(&statement, &[])
            .await
            .expect("marked")
            .get(0)
    })
    .await;
}

#[tokio::test]
async fn every_frame_and_event_of_a_socket_is_as_the_schema_says() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    client
        .batch_execute("INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'in_progress'); SELECT report_connection('first'); SELECT create_sync_status_snapshot()")
        .await
        .expect("written");
    let lock = Lock::hold(&database).await;
    let relay = Relay::start(&database.url(), &["--heartbeat", "20ms"]).await;
    let mut checker = Checker::new();
    let mut socket = relay.subscribe("").await;
    checker
        .until(&mut socket, |_, frame| frame["type"] == "catching_up")
        .await;
    lock.release().await;
    checker
        .until(&mut socket, |_, frame| frame["type"] == "heartbeat")
        .await;

    client.batch_execute(WRITES).await.expect("written");
    client
        .batch_execute(
            "INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'in_progress')",
        )
        .await
        .expect("written");
    marked(&client, "1 microsecond").await;
    checker
        .until(&mut socket, |checker, _| {
            checker.events.contains("operation.stalled")
        })
        .await;
    client
        .batch_execute("UPDATE sync_operations SET message = 'alive'")
        .await
        .expect("written");
    // The relay's own round may do it first.
    client
        .batch_execute("SELECT bellwether.mark_stalled('1 hour')")
        .await
        .expect("marked");
    let expected = event_types();
    checker
        .until(&mut socket, |checker, _| checker.events == expected)
        .await;

    for message in [
        r#"{"type":"ping"}"#,
        "nonsense",
        r#"{"type":"auth","token":"t"}"#,
        r#"{"type":"subscribe","id":"s1","since":"nonsense"}"#,
    ] {
        socket.say(message).await;
    }
    checker
        .until(&mut socket, |_, frame| {
            frame["type"] == "snapshot" && frame["sub"] == "s1"
        })
        .await;
    socket.say(r#"{"type":"unsubscribe","id":"s1"}"#).await;
    checker
        .until(&mut socket, |_, frame| frame["type"] == "unsubscribed")
        .await;
    relay.begin_to_stop();
    while let Some(frame) = socket.next().await {
        checker.check(&frame);
    }
    let all: BTreeSet<String> = checker
        .frames
        .iter()
        .map(|(kind, _)| kind.clone())
        .collect();
    assert_eq!(checker.seen, all, "every frame that is described was seen");
    relay.stop().await;
}

#[tokio::test]
async fn the_frames_of_a_stream_are_those_that_the_asyncapi_document_lists_for_it() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    client.batch_execute(WRITES).await.expect("written");
    let lock = Lock::hold(&database).await;
    let relay = Relay::start(&database.url(), &["--heartbeat", "20ms"]).await;
    let asyncapi: Value = relay
        .get("/api/asyncapi.json")
        .await
        .json()
        .await
        .expect("a document");
    let listed = |channel: &str| -> BTreeSet<String> {
        let messages = asyncapi["channels"][channel]["messages"]
            .as_object()
            .expect("messages");
        messages
            .values()
            .map(|message| {
                let message = asyncapi
                    .pointer(&text(&message["$ref"])[1..])
                    .expect("a message");
                let payload = asyncapi.pointer(&text(&message["payload"]["$ref"])[1..]);
                text(&payload.expect("a payload")["properties"]["type"]["const"])
            })
            .collect()
    };
    let types = |names: &str| -> BTreeSet<String> {
        by_type(&schema()["$defs"][names])
            .into_iter()
            .map(|(kind, _)| kind)
            .collect()
    };
    let socket: BTreeSet<String> = types("Frame").union(&types("Message")).cloned().collect();
    assert_eq!(listed("socket"), socket);

    let waits = Notify::new();
    let release = async {
        waits.notified().await;
        lock.release().await;
    };
    let streaming = relay.events_until("since=nonsense", None, |events| {
        let is = |kind: &str| events.iter().any(|event| event.kind == kind);
        if is("catching_up") {
            waits.notify_one();
        }
        if is("heartbeat") && !is("events") {
            relay.begin_to_stop();
        }
        false
    });
    let mut checker = Checker::new();
    for event in futures::join!(streaming, release).0 {
        assert_eq!(event.kind, text(&event.data["type"]));
        let id = event.data["cursor"].as_str().map(str::to_owned);
        if event.kind != "subscribed" && event.kind != "reset" {
            assert_eq!(event.id, id, "the id is the cursor");
        }
        checker.check(&event.data);
    }
    checker.seen.insert("events".to_owned());
    assert_eq!(checker.seen, listed("stream"));
    relay.stop().await;
}

#[test]
fn messages_of_the_documentation_are_messages_of_the_schema() {
    let schemas = Schemas::strict(schema(), "/$defs");
    let message = schemas.named("Message");
    for good in [
        json!({ "type": "subscribe", "id": "s1", "owner": ["alice"], "mode": "every" }),
        json!({ "type": "subscribe", "id": "s1", "topics": ["health"], "since": "ARP7", "snapshot": false }),
        json!({ "type": "unsubscribe", "id": "s1" }),
        json!({ "type": "ping" }),
        json!({ "type": "auth", "token": "t" }),
    ] {
        assert_valid(&message, &good, "a message");
    }
    for bad in [
        json!({ "type": "subscribe" }),
        json!({ "type": "subscribe", "id": "", "owner": ["alice"] }),
        json!({ "type": "subscribe", "id": "s1", "owner": "alice" }),
        json!({ "type": "subscribe", "id": "s1", "colour": 1 }),
        json!({ "type": "other" }),
    ] {
        assert!(!message.is_valid(&bad), "{bad}");
    }
}
