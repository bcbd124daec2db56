//! The event log: what each kind of change of each table is recorded as.

use serde_json::{Value, json};

use crate::schema_probe::{Bell, LoggedEvent, Probe, revisions};

#[tokio::test]
async fn each_change_of_an_operation_is_one_event_with_the_row_after_it() {
    let probe = Probe::new().await;
    let insert = "INSERT INTO sync_operations (operation_type, owner, source) VALUES ('upload', 'alice', 'laptop')";
    let mut expected = Vec::new();
    let mut rows = Vec::new();
    for (statement, kind) in [
        (insert, "created"),
        (
            "UPDATE sync_operations SET status = 'in_progress'",
            "started",
        ),
        ("UPDATE sync_operations SET processed_items = 1", "progress"),
        ("UPDATE sync_operations SET status = 'paused'", "paused"),
        (
            "UPDATE sync_operations SET status = 'in_progress', message = 'on'",
            "resumed",
        ),
        ("UPDATE sync_operations SET status = 'pending'", "requeued"),
        ("UPDATE sync_operations SET status = 'failed'", "failed"),
        (
            "UPDATE sync_operations SET status = 'cancelled'",
            "cancelled",
        ),
        (
            "UPDATE sync_operations SET status = 'completed'",
            "completed",
        ),
        ("UPDATE sync_operations SET owner = NULL", "progress"),
    ] {
        probe.run(statement).await;
        expected.push(format!("operation.{kind}"));
        rows.push(probe.json("SELECT * FROM sync_operations").await);
    }
    let events = probe.events().await;
    assert_eq!(probe.kinds().await, expected);
    for (event, row) in events.iter().zip(&rows) {
        assert_eq!(&event.data, row);
        assert_eq!(event.topic, "operations");
        assert_eq!(event.entity, row["id"]);
        assert_eq!(event.revision, row["revision"]);
    }
    assert!(
        revisions(&events)
            .windows(2)
            .all(|pair| pair[1] == pair[0] + 1)
    );
}

#[tokio::test]
async fn old_values_of_filterable_columns_are_kept_where_they_changed() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, owner, source) VALUES ('upload', 'alice', 'laptop');
             UPDATE sync_operations SET message = 'x';
             UPDATE sync_operations SET owner = NULL, status = 'in_progress';
             UPDATE sync_operations SET owner = 'bob', source = NULL, operation_type = 'delete';
             INSERT INTO connection_status (client_id) VALUES ('a');
             UPDATE connection_status SET status = 'error', source = 'relay', relay_id = gen_random_uuid();",
        )
        .await;
    let events = probe.events().await;
    let before: Vec<_> = events.iter().map(|event| &event.changed_from).collect();
    for (moved, before) in [
        ("owner = 'carol'", json!({ "owner": "alice" })),
        ("source = 'phone'", json!({ "source": null })),
        (
            "operation_type = 'move'",
            json!({ "operation_type": "upload" }),
        ),
    ] {
        let hurried = Probe::new().await;
        hurried
            .run(&format!(
                "INSERT INTO sync_operations (operation_type, status, total_items, owner) VALUES ('upload', 'in_progress', 100, 'alice');
                 UPDATE sync_operations SET processed_items = 1; UPDATE sync_operations SET processed_items = 2;
                 UPDATE sync_operations SET processed_items = 3, {moved}; UPDATE sync_operations SET processed_items = 4;"
            ))
            .await;
        let changes: Vec<_> = hurried
            .events()
            .await
            .into_iter()
            .map(|event| event.changed_from)
            .collect();
        assert_eq!(changes[3..], [before, json!(null)], "{moved}");
    }
    let expected = [
        json!(null),
        json!(null),
        json!({ "status": "pending", "owner": "alice" }),
        json!({ "owner": null, "operation_type": "upload", "source": "laptop" }),
        json!(null),
        json!({ "status": "connected", "source": "app" }),
    ];
    assert_eq!(before, expected.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_delete_records_the_last_values() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status, owner) VALUES ('upload', 'in_progress', 'alice');
             INSERT INTO sync_operation_errors (operation_id, message) SELECT id, 'broken' FROM sync_operations;
             INSERT INTO connection_status (client_id) VALUES ('a');",
        )
        .await;
    let rows = [
        probe.json("SELECT * FROM sync_operations").await,
        probe.json("SELECT * FROM sync_operation_errors").await,
        probe.json("SELECT * FROM connection_status").await,
    ];
    probe.forget_events().await;
    probe
        .run("DELETE FROM sync_operations; DELETE FROM connection_status;")
        .await;
    let events = probe.events().await;
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["operation.deleted", "error.deleted", "connection.deleted"],
        "errors go with their operation"
    );
    for (event, row) in events.iter().zip(&rows) {
        assert_eq!(&event.data, row);
        assert_eq!(
            event.revision,
            row["revision"].as_i64().expect("a revision") + 1
        );
    }
}

#[tokio::test]
async fn a_revision_does_not_come_again_when_a_row_is_deleted_and_inserted_again() {
    let probe = Probe::new().await;
    probe
        .run(
            "DO $$ BEGIN
                 FOR round IN 1 .. 50 LOOP
                     INSERT INTO sync_operations (id, operation_type) VALUES ('00000000-0000-4000-8000-000000000001', 'upload');
                     UPDATE sync_operations SET processed_items = 1;
                     DELETE FROM sync_operations;
                 END LOOP;
             END $$",
        )
        .await;
    let events = probe.events().await;
    assert_eq!(events.len(), 150);
    assert!(revisions(&events).windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test]
async fn emptying_a_table_is_one_event_for_the_whole_table() {
    let probe = Probe::new().await;
    let mut bell = Bell::new(&probe.database).await;
    for (table, topic) in [
        ("sync_operation_errors", "errors"),
        ("connection_status", "connections"),
        ("sync_status_snapshots", "health"),
    ] {
        probe.forget_events().await;
        probe.run(&format!("TRUNCATE {table}")).await;
        let expected = LoggedEvent {
            topic: topic.to_owned(),
            kind: "table.truncated".to_owned(),
            entity: table.to_owned(),
            revision: 0,
            changed_from: Value::Null,
            data: json!({ "table": table }),
        };
        assert_eq!(probe.events().await, [expected]);
        assert_eq!(bell.rings().await, 1);
    }
}

#[tokio::test]
async fn emptying_the_operations_empties_their_errors_and_says_both() {
    let probe = Probe::new().await;
    let insert = "INSERT INTO sync_operations (operation_type) VALUES ('upload');
                  INSERT INTO sync_operation_errors (operation_id, message) SELECT id, 'broken' FROM sync_operations;";
    probe.run(insert).await;
    let refusal = probe.refusal("TRUNCATE sync_operations").await;
    assert_eq!(refusal.sqlstate, "0A000", "{}", refusal.message);
    for statement in [
        "TRUNCATE sync_operations CASCADE",
        "TRUNCATE sync_operation_errors, sync_operations",
    ] {
        probe.run(insert).await;
        probe.forget_events().await;
        probe.run(statement).await;
        let events = probe.events().await;
        let mut found: Vec<_> = events
            .iter()
            .map(|event| {
                (
                    event.topic.as_str(),
                    event.kind.as_str(),
                    event.entity.as_str(),
                )
            })
            .collect();
        found.sort_unstable();
        let expected = [
            ("errors", "table.truncated", "sync_operation_errors"),
            ("operations", "table.truncated", "sync_operations"),
        ];
        assert_eq!(found, expected, "{statement}");
    }
    probe.forget_events().await;
    probe
        .run("BEGIN; TRUNCATE sync_operations CASCADE; ROLLBACK;")
        .await;
    assert_eq!(probe.kinds().await, [""; 0]);
}

#[tokio::test]
async fn errors_and_connections_are_recorded_as_they_change() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, owner) VALUES ('upload', 'first'), ('upload', 'second');
             DELETE FROM bellwether.event;
             INSERT INTO sync_operation_errors (operation_id, message) SELECT id, 'broken' FROM sync_operations WHERE owner = 'first';
             UPDATE sync_operation_errors SET message = 'mended';
             UPDATE sync_operation_errors SET operation_id = (SELECT id FROM sync_operations WHERE owner = 'second');
             DELETE FROM sync_operation_errors;
             INSERT INTO connection_status (client_id) VALUES ('a');
             UPDATE connection_status SET latency_ms = 3;
             UPDATE connection_status SET status = 'error';
             UPDATE connection_status SET status = 'disconnected';
             UPDATE connection_status SET status = 'reconnecting';
             UPDATE connection_status SET status = 'connected';
             INSERT INTO connection_status (client_id, status) VALUES ('b', 'disconnected'), ('c', 'reconnecting'), ('d', 'error');
             DELETE FROM connection_status WHERE client_id = 'a';",
        )
        .await;
    let events = probe.events().await;
    let owners = probe
        .json("SELECT jsonb_object_agg(id, owner) AS owners FROM sync_operations")
        .await;
    let found: Vec<_> = events
        .iter()
        .map(|event| {
            format!(
                "{} {}",
                owners["owners"][&event.entity]
                    .as_str()
                    .unwrap_or(&event.entity),
                event.kind
            )
        })
        .collect();
    let expected = [
        "first error.recorded",
        "first error.changed",
        "first error.deleted",
        "second error.recorded",
        "second error.deleted",
        "a connection.opened",
        "a connection.changed",
        "a connection.changed",
        "a connection.closed",
        "a connection.changed",
        "a connection.opened",
        "b connection.closed",
        "c connection.changed",
        "d connection.changed",
        "a connection.deleted",
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_error_says_what_its_operation_is_filtered_on() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, owner, source) VALUES ('upload', 'alice', 'laptop');
             SELECT record_sync_error(id, 'broken', item => 'a.txt', code => 'EIO', details => '{\"try\": 2}') FROM sync_operations;",
        )
        .await;
    let event = probe.events().await.pop().expect("an event");
    let mut expected = probe.json("SELECT * FROM sync_operation_errors").await;
    assert_eq!(
        (&expected["item"], &expected["code"], &expected["details"]),
        (&json!("a.txt"), &json!("EIO"), &json!({"try": 2}))
    );
    expected["owner"] = json!("alice");
    expected["operation_type"] = json!("upload");
    expected["source"] = json!("laptop");
    assert_eq!(
        (event.topic.as_str(), event.kind.as_str(), event.data),
        ("errors", "error.recorded", expected)
    );
}

#[tokio::test]
async fn a_connections_instants_follow_its_status() {
    let probe = Probe::new().await;
    probe
        .run("INSERT INTO connection_status (client_id, last_ping) VALUES ('a', '2026-01-01Z')")
        .await;
    let of_row = "FROM connection_status";
    probe
        .holds(&format!(
            "SELECT connected_at = updated_at AND disconnected_at IS NULL {of_row}"
        ))
        .await;
    probe
        .run("UPDATE connection_status SET status = 'reconnecting'")
        .await;
    probe
        .holds(&format!(
            "SELECT connected_at < updated_at AND disconnected_at = updated_at {of_row}"
        ))
        .await;
    probe
        .run("UPDATE connection_status SET status = 'error', updated_at = '2000-01-01'")
        .await;
    probe
        .holds(&format!(
            "SELECT disconnected_at < updated_at AND disconnected_at > connected_at {of_row}"
        ))
        .await;
    probe
        .run("UPDATE connection_status SET status = 'connected'")
        .await;
    probe
        .holds(&format!(
            "SELECT connected_at = updated_at AND disconnected_at IS NULL {of_row}"
        ))
        .await;
    probe.run("UPDATE connection_status SET status = 'connected', connected_at = NULL, latency_ms = 4").await;
    probe
        .holds(&format!("SELECT connected_at < updated_at {of_row}"))
        .await;
}

#[tokio::test]
async fn a_megabyte_in_a_row_is_a_megabyte_in_its_event() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, metadata)
                 SELECT 'upload', jsonb_build_object('noise', string_agg(md5(n::text), '')) FROM generate_series(1, 40000) AS n;
             UPDATE sync_operations SET message = 'small';
             UPDATE sync_operations SET heartbeat_at = now();",
        )
        .await;
    let events = probe.events().await;
    assert_eq!(
        probe.kinds().await,
        ["operation.created", "operation.progress"]
    );
    for event in &events {
        assert_eq!(
            event.data["metadata"]["noise"].as_str().map(str::len),
            Some(1_280_000)
        );
    }
}
