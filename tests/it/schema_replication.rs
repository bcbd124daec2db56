//! Rows that arrive by logical replication: from a database with bellwether, and from one that has never heard of it.

use serde_json::{Value, json};
use tokio_postgres::{Config, config::Host};

use crate::{
    schema_probe::{Bell, LoggedEvent, Probe, Session},
    support::{TestDatabase, eventually},
};

/// A subscription of one database to another of the same cluster.
struct Subscription<'a> {
    subscriber: &'a Session,
    name: String,
}

impl<'a> Subscription<'a> {
    /// Subscribes to a publication. The slot is made by hand: a subscription cannot wait for one in its own cluster.
    async fn new(
        subscriber: &'a Session,
        publisher: (&TestDatabase, &Session),
        publication: &str,
        options: &str,
    ) -> Self {
        let (database, session) = publisher;
        let name = format!("from_{}", database.name());
        session
            .run(&format!(
                "SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"
            ))
            .await;
        let connection = conninfo(database);
        subscriber
            .run(&format!(
                "CREATE SUBSCRIPTION {name} CONNECTION '{connection}' PUBLICATION {publication}
                 WITH (create_slot = false, slot_name = '{name}', {options})"
            ))
            .await;
        Self { subscriber, name }
    }

    /// Waits until the subscriber answers so.
    async fn wait_for(&self, query: &str, answer: &str) {
        eventually(&format!("{query} is {answer}"), async || {
            self.subscriber.text(query).await == answer
        })
        .await;
    }

    /// Drops the subscription and its slot, without which neither database could be dropped.
    async fn end(self) {
        self.subscriber
            .run(&format!("DROP SUBSCRIPTION {}", self.name))
            .await;
    }
}

/// How one server process reaches a database.
fn conninfo(database: &TestDatabase) -> String {
    let config: Config = database.url().parse().expect("a valid URL");
    let host = match &config.get_hosts()[0] {
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.display().to_string(),
    };
    let user = config.get_user().expect("a user");
    let password = String::from_utf8_lossy(config.get_password().unwrap_or_default()).into_owned();
    format!(
        "host={host} port={} user={user} password={password} dbname={}",
        config.get_ports()[0],
        database.name()
    )
    .replace("password= ", "")
}

/// Without the ids of the events, which each database has its own of.
async fn events(session: &Session) -> Vec<LoggedEvent> {
    let mut events = session.events().await;
    for event in &mut events {
        event
            .data
            .as_object_mut()
            .expect("a row")
            .remove("event_id");
    }
    events
}

async fn rows(session: &Session, table: &str) -> Value {
    session
        .json(&format!(
            "SELECT jsonb_agg(to_jsonb(t) - 'event_id' ORDER BY t::text) FROM {table} t"
        ))
        .await
}

#[tokio::test]
async fn rows_from_a_database_with_bellwether_arrive_as_they_are_and_are_recorded_and_ring() {
    let (publisher, subscriber) = (Probe::new().await, Probe::new().await);
    publisher
        .run("CREATE PUBLICATION everything FOR ALL TABLES")
        .await;
    let identity = subscriber.json("SELECT * FROM bellwether.log").await;
    let mut bell = Bell::new(&subscriber.database).await;
    let source = (&publisher.database, &*publisher);
    let subscription =
        Subscription::new(&subscriber, source, "everything", "copy_data = false").await;
    publisher
        .run(
            "INSERT INTO sync_operations (operation_type, status, total_items) VALUES ('upload', 'in_progress', 10);
             UPDATE sync_operations SET processed_items = 5;
             UPDATE sync_operations SET heartbeat_at = now();
             UPDATE sync_operations SET owner = 'alice', status = 'completed';
             INSERT INTO sync_operations (operation_type) VALUES ('dropped');
             DELETE FROM sync_operations WHERE operation_type = 'dropped';
             SELECT record_sync_error(id, 'broken') FROM sync_operations;
             SELECT report_connection('a', latency_ms => 0.1);
             UPDATE connection_status SET status = 'error';
             SELECT create_sync_status_snapshot();
             UPDATE bellwether.log SET trimmed_through = '7';
             INSERT INTO bellwether.stalled_operation VALUES (gen_random_uuid(), now());",
        )
        .await;
    subscription
        .wait_for("SELECT count(*) FROM sync_status_snapshots", "1")
        .await;
    for table in [
        "sync_operations",
        "sync_operation_errors",
        "connection_status",
        "sync_status_snapshots",
    ] {
        assert_eq!(
            rows(&subscriber, table).await,
            rows(&publisher, table).await,
            "{table}"
        );
    }
    assert_eq!(events(&subscriber).await, events(&publisher).await);
    assert_ne!(bell.rings().await, 0);
    assert_eq!(
        subscriber.json("SELECT * FROM bellwether.log").await,
        identity,
        "each database keeps its own records"
    );
    assert_eq!(
        subscriber
            .text("SELECT count(*) FROM bellwether.stalled_operation")
            .await,
        "0"
    );

    // The publisher's log is trimmed; what that takes from the subscriber's is recorded there.
    let through = subscriber
        .text("SELECT max(xid) FROM bellwether.event")
        .await;
    let slot = subscriber
        .text("SELECT tableoid::regclass FROM bellwether.event LIMIT 1")
        .await;
    let log = subscriber.text("SELECT id FROM bellwether.log").await;
    publisher.run(&format!("TRUNCATE {slot}")).await;
    // Another test's transaction may be open; see below.
    let told = format!("SELECT trimmed_through = '{through}' OR id <> '{log}' FROM bellwether.log");
    subscription.wait_for(&told, "true").await;
    assert_eq!(subscriber.events().await, []);

    // Where an open transaction precedes what is gone, no cursor would ever be new enough.
    let open = subscriber.database.client().await;
    open.batch_execute("BEGIN; SELECT pg_current_xact_id()")
        .await
        .expect("begun");
    publisher
        .run("INSERT INTO sync_operations (operation_type) VALUES ('after'); DELETE FROM sync_operations WHERE operation_type = 'after'")
        .await;
    subscription
        .wait_for("SELECT count(*) FROM bellwether.event", "2")
        .await;
    let log = "SELECT id FROM bellwether.log";
    let before = subscriber.text(log).await;
    publisher.run(&format!("TRUNCATE {slot}")).await;
    subscription
        .wait_for("SELECT count(*) FROM bellwether.event", "0")
        .await;
    assert_ne!(subscriber.text(log).await, before);
    open.batch_execute("ROLLBACK").await.expect("rolled back");

    publisher
        .run("DELETE FROM bellwether.event; TRUNCATE sync_operation_errors, sync_operations")
        .await;
    subscription
        .wait_for("SELECT count(*) FROM sync_operations", "0")
        .await;
    let kinds = subscriber.kinds().await;
    assert_eq!(
        kinds[kinds.len() - 2..],
        ["table.truncated", "table.truncated"]
    );

    publisher
        .run(
            "INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'in_progress')",
        )
        .await;
    subscription
        .wait_for("SELECT count(*) FROM sync_operations", "1")
        .await;
    subscriber.run("UPDATE sync_operations SET message = 'changed here'; UPDATE sync_operations SET message = 'twice'").await;
    publisher
        .run("UPDATE sync_operations SET message = 'changed there'")
        .await;
    subscription
        .wait_for("SELECT message FROM sync_operations", "changed there")
        .await;
    let events = subscriber.events().await;
    let last: Vec<_> = events[events.len() - 4..]
        .iter()
        .map(|event| event.revision)
        .collect();
    assert!(
        last.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "revisions never go back: {last:?}"
    );
    subscription.end().await;
}

#[tokio::test]
async fn rows_from_a_database_without_our_columns_are_filled_in_and_recorded() {
    let publisher = TestDatabase::empty().await;
    let elsewhere = Session(publisher.client().await);
    elsewhere
        .run(
            "CREATE TABLE sync_operations (id uuid PRIMARY KEY, operation_type text, status text, total_items bigint, processed_items bigint);
             CREATE TABLE connection_status (client_id text PRIMARY KEY, status text);
             INSERT INTO sync_operations SELECT ('00000000-0000-4000-8000-00000000000' || n)::uuid, 'upload', status, 10, n
                 FROM (VALUES (1, 'in_progress'), (2, 'completed'), (3, 'pending')) AS row (n, status);
             INSERT INTO connection_status VALUES ('a', 'connected');
             CREATE PUBLICATION operations FOR TABLE sync_operations, connection_status;",
        )
        .await;
    let subscriber = Probe::new().await;
    let source = (&publisher, &elsewhere);
    let subscription =
        Subscription::new(&subscriber, source, "operations", "copy_data = true").await;
    subscription
        .wait_for(
            "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'r'",
            "2",
        )
        .await;
    let found = subscriber
        .json("SELECT jsonb_agg(jsonb_build_array(status, progress, started_at IS NOT NULL, completed_at IS NOT NULL, revision > 1700000000000000) ORDER BY id) AS rows FROM sync_operations")
        .await;
    let expected = json!([
        ["in_progress", 10.0, true, false, true],
        ["completed", 100, false, true, true],
        ["pending", 30.0, false, false, true]
    ]);
    assert_eq!(found["rows"], expected);
    assert_eq!(subscriber.kinds().await.len(), 4);

    subscriber.forget_events().await;
    subscriber
        .run("CREATE TABLE before AS SELECT * FROM sync_operations")
        .await;
    elsewhere
        .run(
            "UPDATE sync_operations SET processed_items = 6 WHERE processed_items = 1;
             UPDATE sync_operations SET status = 'completed' WHERE processed_items = 6;
             UPDATE sync_operations SET status = status WHERE processed_items = 3;
             UPDATE sync_operations SET status = 'in_progress' WHERE processed_items = 2;
             UPDATE connection_status SET status = 'error';
             UPDATE sync_operations SET id = '00000000-0000-4000-8000-000000000009' WHERE processed_items = 3;",
        )
        .await;
    subscription
        .wait_for("SELECT count(*) FROM sync_operations WHERE id = '00000000-0000-4000-8000-000000000009'", "1")
        .await;
    let events = subscriber.events().await;
    let found: Vec<_> = events
        .iter()
        .map(|event| {
            format!(
                "{} {} {}",
                &event.entity[event.entity.len() - 1..],
                event.kind,
                event.data["progress"]
            )
        })
        .collect();
    let expected = [
        "1 operation.progress 60.0",
        "1 operation.completed 100",
        "2 operation.started 100",
        "a connection.changed null",
        "3 operation.deleted 30.0",
        "9 operation.progress 30.0",
    ];
    assert_eq!(found, expected, "a mere sign of life is no event");
    subscriber
        .holds("SELECT o.duration_seconds > 0 AND o.heartbeat_at > b.heartbeat_at AND o.updated_at > b.updated_at AND o.revision = b.revision + 2
                FROM sync_operations o JOIN before b USING (id) WHERE o.processed_items = 6")
        .await;
    subscriber
        .holds("SELECT completed_at IS NULL AND started_at IS NOT NULL FROM sync_operations WHERE processed_items = 2")
        .await;
    subscriber
        .holds("SELECT o.heartbeat_at > b.heartbeat_at FROM sync_operations o JOIN before b USING (processed_items) WHERE processed_items = 3")
        .await;
    subscriber
        .holds("SELECT updated_at > (SELECT max(updated_at) FROM before) FROM connection_status")
        .await;
    subscription.end().await;
}
