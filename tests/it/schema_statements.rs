//! Statements of every kind, and what an application adds to the tables: each changed row is recorded, once.

use futures::SinkExt;
use serde_json::{Value, json};

use crate::schema_probe::{Bell, Probe, revisions};
use crate::support::eventually;

#[tokio::test]
async fn copy_records_each_row() {
    let probe = Probe::new().await;
    let copy =
        "COPY sync_operations (operation_type, status, total_items, processed_items) FROM STDIN";
    let sink = probe.0.copy_in(copy).await.expect("a copy");
    let mut sink = std::pin::pin!(sink);
    let lines: String = (0..100)
        .map(|n| format!("upload\tin_progress\t100\t{n}\n"))
        .collect();
    sink.send(bytes::Bytes::from(lines)).await.expect("rows");
    sink.close().await.expect("the end of the copy");
    let events = probe.events().await;
    assert_eq!(events.len(), 100);
    for (event, n) in events.iter().zip(0..) {
        assert_eq!(
            (event.kind.as_str(), &event.data["progress"]),
            ("operation.created", &json!(f64::from(n))),
            "{n}"
        );
    }
}

#[tokio::test]
async fn an_upsert_records_what_it_did() {
    let probe = Probe::new().await;
    let upsert = "INSERT INTO sync_operations (id, operation_type, status, total_items, processed_items) VALUES
            ('00000000-0000-4000-8000-000000000001', 'upload', 'in_progress', 10, 5)
        ON CONFLICT (id) DO UPDATE SET processed_items = excluded.processed_items + 1, progress = excluded.progress,
            started_at = excluded.started_at, revision = excluded.revision, updated_at = excluded.updated_at";
    probe.run(upsert).await;
    probe.run(upsert).await;
    let ignored = upsert
        .split("DO UPDATE")
        .next()
        .expect("the first half")
        .to_owned()
        + "DO NOTHING";
    probe.run(&ignored).await;
    let events = probe.events().await;
    assert_eq!(
        probe.kinds().await,
        ["operation.created", "operation.progress"]
    );
    assert_eq!(revisions(&events)[1], revisions(&events)[0] + 1);
    assert_eq!(events[1].data["progress"], json!(60.0));
}

#[tokio::test]
async fn a_merge_records_what_it_did_to_each_row() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, owner) VALUES ('upload', 'kept'), ('upload', 'changed'), ('upload', 'dropped');
             DELETE FROM bellwether.event;
             MERGE INTO sync_operations o USING (VALUES ('kept'), ('changed'), ('dropped'), ('new')) AS wanted (owner) ON o.owner = wanted.owner
                 WHEN MATCHED AND wanted.owner = 'kept' THEN DO NOTHING
                 WHEN MATCHED AND wanted.owner = 'dropped' THEN DELETE
                 WHEN MATCHED THEN UPDATE SET status = 'in_progress'
                 WHEN NOT MATCHED THEN INSERT (operation_type, owner) VALUES ('upload', wanted.owner);",
        )
        .await;
    let mut found: Vec<_> = probe
        .events()
        .await
        .iter()
        .map(|event| format!("{} {}", event.data["owner"], event.kind))
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "\"changed\" operation.started",
            "\"dropped\" operation.deleted",
            "\"new\" operation.created"
        ]
    );
}

/// Older minor versions of PostgreSQL hide this MERGE from triggers that fire once a statement; the doctor says so.
#[tokio::test]
async fn a_merge_beside_another_change_records_what_both_did() {
    let probe = Probe::new().await;
    let mended = "SELECT split_part(v, '.', 2)::integer >= CASE split_part(v, '.', 1) WHEN '15' THEN 16 WHEN '16' THEN 12 WHEN '17' THEN 8 ELSE 2 END
        FROM split_part(current_setting('server_version'), ' ', 1) v";
    let is_seen: bool = probe
        .0
        .query_one(mended, &[])
        .await
        .expect("an answer")
        .get(0);
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, owner) VALUES ('upload', 'changed'), ('upload', 'merged');
             DELETE FROM bellwether.event;
             WITH changed AS (UPDATE sync_operations SET message = 'x' WHERE owner = 'changed')
             MERGE INTO sync_operations o USING (VALUES ('merged'), ('new')) AS wanted (owner) ON o.owner = wanted.owner
                 WHEN MATCHED THEN UPDATE SET status = 'in_progress'
                 WHEN NOT MATCHED THEN INSERT (operation_type, owner) VALUES ('upload', wanted.owner);",
        )
        .await;
    let mut kinds = probe.kinds().await;
    kinds.sort();
    let mut expected = vec!["operation.created", "operation.progress"];
    if is_seen {
        expected.push("operation.started");
    }
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn an_update_of_many_rows_records_each_row_that_changed() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, message) SELECT 'upload', n FROM generate_series(1, 50) AS n;
             DELETE FROM bellwether.event;
             UPDATE sync_operations SET message = CASE WHEN message::integer % 2 = 0 THEN message ELSE 'odd' END;",
        )
        .await;
    let events = probe.events().await;
    assert_eq!(events.len(), 25);
    assert!(events.iter().all(|event| event.data["message"] == "odd"));
}

#[tokio::test]
async fn what_changes_nothing_is_no_event_and_rings_no_bell() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'in_progress');
             INSERT INTO sync_operation_errors (operation_id, message) SELECT id, 'broken' FROM sync_operations;
             INSERT INTO connection_status (client_id, latency_ms) VALUES ('a', 1.5);
             SELECT create_sync_status_snapshot();",
        )
        .await;
    let before = probe.events().await;
    let mut bell = Bell::new(&probe.database).await;
    for nothing in [
        "UPDATE sync_operations SET status = status",
        "UPDATE sync_operations SET heartbeat_at = now()",
        "UPDATE sync_operations SET message = 'never' WHERE false",
        "UPDATE sync_operations SET metadata = '{}', progress = 0.0, updated_at = now()",
        "UPDATE sync_operation_errors SET message = 'broken', revision = 7",
        "UPDATE connection_status SET latency_ms = 1.5, updated_at = now()",
        "UPDATE sync_status_snapshots SET kind = 'manual'",
        "DELETE FROM sync_operations WHERE operation_type = 'other'",
        "INSERT INTO sync_operations SELECT * FROM sync_operations ON CONFLICT DO NOTHING",
        "INSERT INTO connection_status (client_id) VALUES ('a') ON CONFLICT (client_id) DO UPDATE SET status = excluded.status",
        "BEGIN; UPDATE sync_operations SET message = 'taken back'; ROLLBACK",
    ] {
        probe.run(nothing).await;
        assert_eq!(bell.rings().await, 0, "{nothing}");
        assert_eq!(probe.events().await, before, "{nothing}");
    }
    probe
        .run("UPDATE sync_operations SET message = 'something'")
        .await;
    assert_eq!(bell.rings().await, 1);
}

#[tokio::test]
async fn a_savepoint_that_is_rolled_back_takes_its_events_with_it() {
    let probe = Probe::new().await;
    probe
        .run(
            "BEGIN;
             INSERT INTO sync_operations (operation_type) VALUES ('upload');
             SAVEPOINT first;
             UPDATE sync_operations SET message = 'lost', status = 'in_progress';
             ROLLBACK TO first;
             UPDATE sync_operations SET message = 'kept';
             SAVEPOINT second;
             UPDATE sync_operations SET message = 'kept too';
             RELEASE second;
             COMMIT;",
        )
        .await;
    let events = probe.events().await;
    let found: Vec<_> = events
        .iter()
        .map(|event| event.data["message"].clone())
        .collect();
    assert_eq!(found, [Value::Null, json!("kept"), json!("kept too")]);
    assert!(
        revisions(&events)
            .windows(2)
            .all(|pair| pair[1] == pair[0] + 1)
    );
    let transactions = "SELECT count(DISTINCT xid) FROM bellwether.event";
    assert_eq!(
        probe.text(transactions).await,
        "1",
        "the top-level transaction, which a cursor knows"
    );
}

#[tokio::test]
async fn what_an_applications_own_trigger_changes_again_is_recorded_in_order() {
    let probe = Probe::new().await;
    probe
        .run(
            "CREATE FUNCTION add_to_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.processed_items < 3 THEN
                     UPDATE sync_operations SET processed_items = NEW.processed_items + 1 WHERE id = NEW.id;
                 END IF;
                 RETURN NULL;
             END $$;
             INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'in_progress');
             CREATE TRIGGER a_comes_before_ours AFTER UPDATE ON sync_operations FOR EACH ROW EXECUTE FUNCTION add_to_it();
             DELETE FROM bellwether.event;
             UPDATE sync_operations SET processed_items = 1;",
        )
        .await;
    let events = probe.events().await;
    let logged: Vec<_> = events
        .iter()
        .map(|event| event.data["processed_items"].clone())
        .collect();
    assert_eq!(logged, [json!(1), json!(2), json!(3)]);
    assert!(revisions(&events).is_sorted());
    assert_eq!(
        events[2].data,
        probe.json("SELECT * FROM sync_operations").await
    );
}

#[tokio::test]
async fn a_row_that_an_applications_own_trigger_deletes_at_once_ends_deleted() {
    let probe = Probe::new().await;
    probe
        .run(
            "CREATE FUNCTION take_it_away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 DELETE FROM sync_operations WHERE id = NEW.id;
                 RETURN NULL;
             END $$;
             CREATE TRIGGER a_comes_before_ours AFTER INSERT OR UPDATE ON sync_operations FOR EACH ROW
                 WHEN (NEW.owner = 'unwanted') EXECUTE FUNCTION take_it_away();
             INSERT INTO sync_operations (operation_type, owner) VALUES ('upload', 'unwanted'), ('upload', 'wanted');
             UPDATE sync_operations SET owner = 'unwanted';",
        )
        .await;
    let events = probe.events().await;
    let told: Vec<_> = events
        .iter()
        .map(|event| format!("{} {}", event.data["owner"], event.kind))
        .collect();
    assert_eq!(
        told,
        [
            "\"unwanted\" operation.created",
            "\"wanted\" operation.created",
            "\"unwanted\" operation.deleted",
            "\"unwanted\" operation.progress",
            "\"unwanted\" operation.deleted"
        ]
    );
}

#[tokio::test]
async fn rows_of_a_child_table_are_no_events_and_fail_no_statement() {
    let probe = Probe::new().await;
    probe
        .run(
            "CREATE TABLE archived_operations () INHERITS (sync_operations);
             INSERT INTO archived_operations (operation_type) VALUES ('upload');
             INSERT INTO archived_operations (operation_type, event_id) VALUES ('upload', -1), ('upload', 7);
             INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'in_progress');
             UPDATE sync_operations SET message = 'both';
             INSERT INTO archived_operations SELECT * FROM ONLY sync_operations;
             UPDATE ONLY sync_operations SET owner = 'alice'; UPDATE archived_operations SET message = 'old';
             UPDATE sync_operations SET message = 'all'; DELETE FROM sync_operations;",
        )
        .await;
    assert_eq!(
        probe.kinds().await,
        [
            "operation.created",
            "operation.progress",
            "operation.progress",
            "operation.progress",
            "operation.deleted"
        ]
    );
}

#[tokio::test]
async fn a_new_row_comes_after_the_deletion_that_it_waited_for() {
    let probe = Probe::new().await;
    let other = probe.another().await;
    let row = "(id, operation_type) VALUES ('00000000-0000-4000-8000-000000000001', 'upload')";
    probe
        .run(&format!("INSERT INTO sync_operations {row}"))
        .await;
    for insert in [
        format!("INSERT INTO sync_operations {row}"),
        format!(
            "INSERT INTO sync_operations {row} ON CONFLICT (id) DO UPDATE SET message = 'again'"
        ),
    ] {
        probe.forget_events().await;
        other.run("BEGIN; UPDATE sync_operations SET message = 'the last'; DELETE FROM sync_operations").await;
        let waits = async {
            let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
            eventually("the insert waits", async || {
                other.text(waiting).await == "1"
            })
            .await;
            other.run("COMMIT").await;
        };
        tokio::join!(probe.run(&insert), waits);
        assert_eq!(
            probe.kinds().await,
            [
                "operation.progress",
                "operation.deleted",
                "operation.created"
            ],
            "{insert}"
        );
    }
    probe.forget_events().await;
    probe
        .run("WITH gone AS (DELETE FROM sync_operations RETURNING *) INSERT INTO sync_operations SELECT * FROM gone")
        .await;
    assert_eq!(
        probe.kinds().await,
        ["operation.deleted", "operation.created"]
    );
}

#[tokio::test]
async fn a_trigger_that_an_application_makes_while_others_write_is_reckoned_with() {
    let probe = Probe::new().await;
    let insert = "INSERT INTO sync_operations (operation_type) VALUES ('upload')";
    probe.run(insert).await;
    let other = probe.another().await;
    other
        .run(
            "CREATE FUNCTION start_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 UPDATE sync_operations SET status = 'in_progress' WHERE status = 'pending';
                 RETURN NULL;
             END $$;
             CREATE TRIGGER a_comes_before_ours AFTER INSERT ON sync_operations FOR EACH STATEMENT EXECUTE FUNCTION start_it();
             DELETE FROM bellwether.event; DELETE FROM sync_operations; DELETE FROM bellwether.event;",
        )
        .await;
    probe.run(insert).await;
    assert_eq!(
        probe.kinds().await,
        ["operation.created", "operation.started"]
    );
    other
        .run("DROP TRIGGER a_comes_before_ours ON sync_operations; DELETE FROM bellwether.event")
        .await;
    probe.run(insert).await;
    assert_eq!(probe.kinds().await, ["operation.created"]);
    probe
        .holds("SELECT count(event_id) = 1 FROM sync_operations")
        .await;
}

#[tokio::test]
async fn a_temporary_table_is_not_taken_for_what_a_statement_wrote() {
    let probe = Probe::new().await;
    probe
        .run(
            "CREATE TEMPORARY TABLE written (LIKE sync_operations);
             INSERT INTO written (event_id, id, operation_type, status, progress, processed_items, failed_items, inserted_items,
                     updated_items, deleted_items, kept_items, skipped_items, entities_encountered, counters, created_at, updated_at,
                     heartbeat_at, metadata, performance_data, revision)
                 VALUES (7, gen_random_uuid(), 'forged', 'pending', 0, 0, 0, 0, 0, 0, 0, 0, '{}', '{}', now(), now(), now(), '{}', '{}', 1);
             INSERT INTO sync_operations (operation_type) VALUES ('upload');
             UPDATE sync_operations SET message = 'mine';",
        )
        .await;
    let events = probe.events().await;
    assert_eq!(events.len(), 2);
    assert!(
        events
            .iter()
            .all(|event| event.data["operation_type"] == "upload")
    );
}

#[tokio::test]
async fn what_an_applications_own_before_trigger_changes_is_derived_from_and_recorded() {
    let probe = Probe::new().await;
    probe
        .run(
            "CREATE FUNCTION fill_in() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 NEW.total_items := 4;
                 NEW.message := 'filled in ' || NEW.processed_items;
                 NEW.revision := 1;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER fills_in BEFORE INSERT OR UPDATE ON sync_operations FOR EACH ROW EXECUTE FUNCTION fill_in();
             INSERT INTO sync_operations (operation_type, status, processed_items) VALUES ('upload', 'in_progress', 1);
             UPDATE sync_operations SET processed_items = 3;
             UPDATE sync_operations SET heartbeat_at = now(), message = 'overwritten';",
        )
        .await;
    let events = probe.events().await;
    let found: Vec<_> = events
        .iter()
        .map(|event| json!([event.data["message"], event.data["progress"]]))
        .collect();
    assert_eq!(
        found,
        [json!(["filled in 1", 25.0]), json!(["filled in 3", 75.0])]
    );
    assert_eq!(revisions(&events)[1], revisions(&events)[0] + 1);
}

#[tokio::test]
async fn a_column_that_the_application_adds_travels_too_even_one_without_an_equality() {
    let probe = Probe::new().await;
    probe
        .run(
            "ALTER TABLE sync_operations ADD COLUMN extra json, ADD COLUMN spot point;
             INSERT INTO sync_operations (operation_type, extra, spot) VALUES ('upload', '{\"a\": 1}', '(1,2)');
             UPDATE sync_operations SET extra = '{\"a\": 2}';
             UPDATE sync_operations SET extra = '{\"a\": 2}', spot = '(1,2)';",
        )
        .await;
    let extras: Vec<_> = probe
        .events()
        .await
        .iter()
        .map(|event| event.data["extra"]["a"].clone())
        .collect();
    assert_eq!(extras, [json!(1), json!(2)]);
}

#[tokio::test]
async fn a_column_travels_from_the_first_change_after_it_was_added_whatever_a_session_has_prepared()
{
    let probe = Probe::new().await;
    let another = probe.another().await;
    probe
        .run("INSERT INTO sync_operations (operation_type, status, total_items) VALUES ('upload', 'in_progress', 100)")
        .await;
    let report = "UPDATE sync_operations SET processed_items = processed_items + 1";
    let mut expected = Vec::new();
    for (alter, extra) in [
        ("", json!(null)),
        ("ADD COLUMN extra integer NOT NULL DEFAULT 1", json!(1)),
        ("ALTER COLUMN extra TYPE text USING 'two'", json!("two")),
        ("DROP COLUMN extra", json!(null)),
        (
            "ADD COLUMN other uuid DEFAULT gen_random_uuid(), ADD COLUMN extra bigserial",
            json!(1),
        ),
        ("DROP COLUMN other, DROP COLUMN extra", json!(null)),
    ] {
        if !alter.is_empty() {
            another
                .run(&format!("ALTER TABLE sync_operations {alter}"))
                .await;
        }
        // Enough for PostgreSQL to settle on a plan that it keeps.
        for _ in 0..8 {
            probe.run(report).await;
            expected.push(extra.clone());
        }
    }
    let events = probe.events().await;
    let extras: Vec<_> = events[1..]
        .iter()
        .map(|event| event.data.get("extra").cloned().unwrap_or_default())
        .collect();
    assert_eq!(extras, expected);
    let kept = "SELECT string_agg(DISTINCT (payload IS NULL)::text, ', ' ORDER BY (payload IS NULL)::text) FROM bellwether.event";
    assert_eq!(
        probe.text(kept).await,
        "false, true",
        "both ways were taken"
    );
}

#[tokio::test]
async fn a_column_that_is_newer_than_the_writers_snapshot_travels_too() {
    let probe = Probe::new().await;
    let another = probe.another().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status, total_items) VALUES ('upload', 'in_progress', 100);
             UPDATE sync_operations SET processed_items = 1",
        )
        .await;
    probe
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM connection_status")
        .await;
    another
        .run("ALTER TABLE sync_operations ADD COLUMN extra integer NOT NULL DEFAULT 1")
        .await;
    probe
        .run("UPDATE sync_operations SET processed_items = 2; COMMIT")
        .await;
    assert_eq!(probe.events().await[2].data["extra"], 1);
}

#[tokio::test]
async fn an_event_has_its_row_though_a_column_goes_that_the_writers_snapshot_still_has() {
    let probe = Probe::new().await;
    probe
        .run(
            "ALTER TABLE sync_operations ADD COLUMN extra text;
             INSERT INTO sync_operations (operation_type, extra) VALUES ('upload', 'more')",
        )
        .await;
    let other = probe.database.client().await;
    probe
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        .await;
    other
        .batch_execute("ALTER TABLE sync_operations DROP COLUMN extra")
        .await
        .expect("dropped");
    probe
        .run("UPDATE sync_operations SET message = 'old snapshot'; COMMIT")
        .await;
    for number in 0..8 {
        probe
            .run(&format!("UPDATE sync_operations SET message = '{number}'"))
            .await;
    }
    probe
        .holds("SELECT count(*) = 10 AND bool_and((operation IS NULL) <> (payload IS NULL)) FROM bellwether.event")
        .await;
    assert!(
        probe
            .events()
            .await
            .iter()
            .all(|event| event.data["operation_type"] == "upload")
    );
}

#[tokio::test]
async fn an_event_keeps_each_column_that_the_table_was_made_with() {
    let probe = Probe::new().await;
    let columns = |of: &str| {
        format!(
            "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
             FROM pg_attribute WHERE attrelid = '{of}'::regclass AND attnum > 0"
        )
    };
    assert_eq!(
        probe.text(&columns("bellwether.operation")).await,
        probe.text(&columns("sync_operations")).await
    );
    // Each one in its place: no value is there twice.
    let filled = "INSERT INTO sync_operations SELECT (jsonb_populate_record(NULL::sync_operations, jsonb_object_agg(attname,
            CASE WHEN attname = 'status' THEN to_jsonb('completed'::text)
                 WHEN atttypid = 'jsonb'::regtype THEN jsonb_build_object('n', attnum)
                 WHEN atttypid = 'uuid'::regtype THEN to_jsonb(gen_random_uuid())
                 WHEN atttypid = 'timestamptz'::regtype THEN to_jsonb('2026-01-01 00:00Z'::timestamptz + attnum * interval '1 hour')
                 WHEN attname = 'total_items' THEN to_jsonb(1000) ELSE to_jsonb(attnum) END))).*
        FROM pg_attribute WHERE attrelid = 'sync_operations'::regclass AND attnum > 0";
    probe.run(filled).await;
    assert_eq!(
        probe
            .json("SELECT row_to_json(o) FROM sync_operations o")
            .await,
        probe
            .json("SELECT bellwether.row_in_utc(operation) AS row_to_json FROM bellwether.event")
            .await
    );
}

#[tokio::test]
async fn reports_of_progress_leave_the_indexes_alone() {
    let probe = Probe::new().await;
    probe
        .run(
            "BEGIN;
             INSERT INTO sync_operations (operation_type, status, owner, total_items) VALUES ('upload', 'in_progress', 'alice', 1000);
             DO $$ BEGIN FOR n IN 1 .. 8 LOOP
                 UPDATE sync_operations SET processed_items = n, current_item = 'file ' || n, message = 'copying';
             END LOOP; END $$;",
        )
        .await;
    let updates = "SELECT n_tup_upd || ' updates, ' || n_tup_hot_upd || ' heap-only' FROM pg_stat_xact_user_tables WHERE relname = 'sync_operations'";
    assert_eq!(probe.text(updates).await, "8 updates, 8 heap-only");
}
