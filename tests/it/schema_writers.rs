//! Writers of every kind: with odd settings, at a strict isolation level, as a replica, out of a dump.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::{
    schema_probe::{Probe, Session},
    support::TestDatabase,
};

#[tokio::test]
async fn what_is_recorded_does_not_depend_on_the_writers_settings() {
    let probe = Probe::new().await;
    let writer = probe.another().await;
    writer
        .run(
            "SET TimeZone = 'Asia/Kathmandu'; SET IntervalStyle = 'sql_standard'; SET DateStyle = 'German, DMY';
             SET extra_float_digits = -14; SET bytea_output = 'escape'; SET lc_numeric = 'C'; SET standard_conforming_strings = off;
             SET default_transaction_isolation = 'serializable'; SET plan_cache_mode = force_generic_plan;",
        )
        .await;
    for search_path in [
        "''",
        "pg_temp, decoy, pg_catalog, public",
        "decoy",
        "\"$user\", nonexistent",
    ] {
        probe.run("TRUNCATE sync_operations, sync_operation_errors, connection_status, sync_status_snapshots").await;
        probe
            .run(
                "CREATE SCHEMA IF NOT EXISTS decoy;
                 CREATE TABLE IF NOT EXISTS decoy.sync_operations (id integer);
                 CREATE TABLE IF NOT EXISTS decoy.connection_status (id integer);
                 CREATE OR REPLACE FUNCTION decoy.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';
                 CREATE OR REPLACE FUNCTION decoy.round(numeric, integer) RETURNS numeric LANGUAGE sql AS 'SELECT -1.0';
                 CREATE OR REPLACE FUNCTION decoy.row_to_json(record) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RETURN '{}'; END $$;
                 CREATE OR REPLACE FUNCTION decoy.count(integer) RETURNS bigint LANGUAGE sql AS 'SELECT -1::bigint';",
            )
            .await;
        writer
            .run(&format!("SET search_path = {search_path}"))
            .await;
        writer
            .run(
                "INSERT INTO public.sync_operations (operation_type, status, total_items, processed_items, started_at)
                     VALUES ('upload', 'in_progress', 3, 1, '31.12.2025 12:00:00');
                 UPDATE public.sync_operations SET processed_items = 2;
                 UPDATE public.sync_operations SET processed_items = 3;
                 SELECT public.update_sync_progress(id, counters => '{\"a\": 1}') FROM public.sync_operations;
                 SELECT public.complete_sync_operation(id) FROM public.sync_operations;
                 SELECT public.record_sync_error(id, 'broken') FROM public.sync_operations;
                 SELECT public.report_connection('a', latency_ms => 1.0 / 3);
                 SELECT public.create_sync_status_snapshot();",
            )
            .await;
        probe
            .holds("SELECT started_at = '2025-12-31 06:15Z' FROM sync_operations")
            .await;
        let events = probe.events().await;
        for (table, kind) in [
            ("sync_operations", "operation.completed"),
            ("sync_operation_errors", "error.recorded"),
            ("connection_status", "connection.opened"),
            ("sync_status_snapshots", "health.changed"),
        ] {
            let event = events
                .iter()
                .rfind(|event| event.kind == kind)
                .expect("an event");
            let mut row = probe.json(&format!("SELECT * FROM {table}")).await;
            if table == "sync_operation_errors" {
                row["operation_type"] = json!("upload");
                row["owner"] = json!(null);
                row["source"] = json!(null);
            }
            assert_eq!(event.data, row, "with search_path {search_path}");
        }
        let operation = &events
            .iter()
            .rfind(|event| event.kind == "operation.completed")
            .expect("an event")
            .data;
        for instant in [
            "created_at",
            "started_at",
            "updated_at",
            "heartbeat_at",
            "completed_at",
        ] {
            let text = operation[instant].as_str().expect("an instant");
            assert!(text.ends_with("+00:00"), "{instant} {text}");
        }
        assert_eq!(operation["started_at"], "2025-12-31T06:15:00+00:00");
        probe.forget_events().await;
    }
}

#[tokio::test]
async fn stalled_operations_are_recorded_in_utc_with_all_digits_too() {
    let probe = Probe::new().await;
    probe
        .run(
            "SET TimeZone = 'Asia/Kathmandu'; SET extra_float_digits = -14;
             INSERT INTO sync_operations (operation_type, status, total_items) VALUES ('upload', 'in_progress', 1000);
             UPDATE sync_operations SET processed_items = 333;
             DO $$ BEGIN WHILE bellwether.mark_stalled('1 microsecond') = 0 LOOP END LOOP; END $$;
             RESET TimeZone; RESET extra_float_digits;",
        )
        .await;
    let event = probe.events().await.pop().expect("an event");
    assert_eq!(event.kind, "operation.stalled");
    let mut row = probe.json("SELECT * FROM sync_operations").await;
    row["stalled_since"] = row["heartbeat_at"].clone();
    assert_eq!(event.data, row);
    assert!(
        row["stalled_since"]
            .as_str()
            .is_some_and(|instant| instant.ends_with("+00:00")),
        "{row}"
    );
}

#[tokio::test]
async fn rows_written_as_a_replica_are_recorded_once_and_keep_their_revision() {
    let probe = Probe::new().await;
    probe
        .run(
            "SET session_replication_role = replica;
             INSERT INTO sync_operations (operation_type, status, revision, updated_at) VALUES ('upload', 'in_progress', 1700000000000000, '2026-01-01Z');
             UPDATE sync_operations SET message = 'moved by the publisher', revision = 1700000000000007;
             UPDATE sync_operations SET message = 'not moved by the publisher';
             UPDATE sync_operations SET heartbeat_at = now(), revision = 1700000000000001;
             UPDATE sync_operations SET message = 'moved back by the publisher', revision = 1700000000000002;
             DELETE FROM sync_operations;
             RESET session_replication_role;",
        )
        .await;
    let found: Vec<_> = probe
        .events()
        .await
        .iter()
        .map(|event| (event.kind.clone(), event.revision - 1_700_000_000_000_000))
        .collect();
    let expected = [
        ("created", 0),
        ("progress", 7),
        ("progress", 8),
        ("progress", 9),
        ("deleted", 10),
    ];
    assert_eq!(
        found,
        expected.map(|(kind, revision)| (format!("operation.{kind}"), revision))
    );
}

#[tokio::test]
async fn a_revision_that_no_clock_gives_is_not_taken_over_and_the_row_can_still_be_changed() {
    let probe = Probe::new().await;
    probe
        .run(
            "SET session_replication_role = replica;
             INSERT INTO sync_operations (operation_type, revision) VALUES ('upload', 9223372036854775807);
             UPDATE sync_operations SET message = 'a', revision = 9223372036854775807;
             RESET session_replication_role;
             UPDATE sync_operations SET message = 'b';
             DELETE FROM sync_operations",
        )
        .await;
    let revisions: Vec<_> = probe
        .events()
        .await
        .iter()
        .map(|event| event.revision)
        .collect();
    assert!(revisions.is_sorted_by(|a, b| a + 1 == *b), "{revisions:?}");
    assert!(revisions[0] < 1 << 53, "{revisions:?}");
    assert_eq!(revisions.len(), 4);
}

#[tokio::test]
async fn what_only_a_publisher_can_write_does_not_fail_a_later_report() {
    let probe = Probe::new().await;
    for (progressed_at, rate) in [
        ("-infinity", "1"),
        ("infinity", "1"),
        ("2026-01-01Z", "NaN"),
        ("2026-01-01Z", "infinity"),
        ("2026-01-01Z", "-0.1"),
        ("2026-01-01Z", "0"),
    ] {
        probe
            .run(&format!(
                "SET session_replication_role = replica;
                 INSERT INTO sync_operations (operation_type, status, started_at, total_items, processed_items, progressed_at, items_per_second)
                     VALUES ('upload', 'in_progress', '2026-01-01Z', 10, 1, '{progressed_at}', '{rate}');
                 RESET session_replication_role;
                 UPDATE sync_operations SET processed_items = 2"
            ))
            .await;
        let found = "SELECT items_per_second > 0 AND items_per_second < 'infinity' AND isfinite(progressed_at) FROM sync_operations";
        probe.holds(found).await;
        probe.run("DELETE FROM sync_operations").await;
    }
}

#[tokio::test]
async fn an_operator_that_somebody_else_has_made_is_not_run_with_the_rights_of_a_writer() {
    let probe = Probe::new().await;
    // An operator for each pair of types that PostgreSQL has none for: whoever lacks a cast runs into it.
    probe
        .run(
            "DO $do$
             DECLARE lefty text; righty text; name text; kind text;
             BEGIN
                 FOR lefty, righty, name IN SELECT l.t, r.t, o FROM unnest(ARRAY['smallint', 'integer', 'bigint', 'numeric', 'real', 'double precision']) AS l (t),
                         unnest(ARRAY['smallint', 'integer', 'bigint', 'numeric', 'real', 'double precision', 'text']) AS r (t),
                         unnest(ARRAY['+', '-', '*', '/', '%', '<', '>', '=', '<>', '<=', '>=']) AS o
                     WHERE NOT EXISTS (SELECT FROM pg_operator WHERE oprname = o AND oprleft = l.t::regtype AND oprright = r.t::regtype)
                 LOOP
                     kind := CASE WHEN name IN ('<', '>', '=', '<>', '<=', '>=') THEN 'boolean' ELSE 'numeric' END;
                     EXECUTE format('CREATE OR REPLACE FUNCTION public.trap_%1$s(%2$s, %3$s) RETURNS %1$s LANGUAGE plpgsql AS $f$ BEGIN RAISE ''trapped''; END $f$', kind, lefty, righty);
                     EXECUTE format('CREATE OPERATOR public.%s (leftarg = %s, rightarg = %s, function = public.trap_%s)', name, lefty, righty, kind);
                 END LOOP;
             END $do$",
        )
        .await;
    probe
        .run(
            "SET search_path = public;
             INSERT INTO sync_operations (operation_type, status, total_items, processed_items)
                 VALUES ('upload', 'in_progress', 10, 1), ('delete', 'pending', 10, 1), ('move', 'completed', 10, 1);
             INSERT INTO sync_operation_errors (operation_id, message) SELECT id, 'broken' FROM sync_operations;
             UPDATE sync_operation_errors SET message = 'mended';
             UPDATE sync_operations SET processed_items = 2, failed_items = 1, owner = 'me', metadata = '{}';
             UPDATE sync_operations SET processed_items = 3, total_items = NULL;
             UPDATE sync_operations SET status = 'paused', processed_items = 5, total_items = 20 WHERE status = 'in_progress';
             UPDATE sync_operations SET status = 'in_progress', progress = 50 WHERE status = 'paused';
             UPDATE sync_operations SET status = 'completed', duration_seconds = 3;
             INSERT INTO connection_status (client_id, latency_ms) VALUES ('one', 3);
             UPDATE connection_status SET status = 'error', latency_ms = 4;
             SELECT sync_health_score(7, 1, 1, 250);
             SET session_replication_role = replica;
             INSERT INTO sync_operations (operation_type, status, total_items, processed_items)
                 VALUES ('upload', 'completed', 10, 1), ('upload', 'in_progress', 10, 1);
             UPDATE sync_operations SET processed_items = 2 WHERE status = 'in_progress';
             INSERT INTO sync_operation_errors (operation_id, message) SELECT id, 'broken' FROM sync_operations",
        )
        .await;
}

#[tokio::test]
async fn the_rules_hold_for_rows_written_as_a_replica() {
    let probe = Probe::new().await;
    probe.run("SET session_replication_role = replica").await;
    for (insert, rule) in [
        (
            "(operation_type, status) VALUES ('upload', 'done')",
            "status_is_a_known_status",
        ),
        (
            "(operation_type, total_items, processed_items) VALUES ('upload', 1, 2)",
            "processed_items_is_not_above_total_items",
        ),
        (
            "(operation_type, created_at) VALUES ('upload', 'infinity')",
            "created_at_is_in_the_years_1_to_9999",
        ),
        (
            "(operation_type, status, started_at) VALUES ('upload', 'completed', '-infinity')",
            "started_at_is_in_the_years_1_to_9999",
        ),
    ] {
        let refusal = probe
            .refusal(&format!("INSERT INTO sync_operations {insert}"))
            .await;
        assert_eq!(
            (refusal.sqlstate.as_str(), refusal.constraint),
            ("23514", format!("sync_operations_{rule}"))
        );
    }
}

#[tokio::test]
async fn nobody_who_writes_waits_for_or_fails_with_what_a_relay_does() {
    let probe = Probe::new().await;
    let (application, relay, other) = (
        probe.another().await,
        probe.another().await,
        probe.another().await,
    );
    probe
        .run("INSERT INTO sync_operations (operation_type, status, owner) VALUES ('upload', 'in_progress', 'alice'), ('upload', 'in_progress', 'bob')")
        .await;
    for session in [&application, &other] {
        session
            .run("SET lock_timeout = '10s'; SET enable_seqscan = off; SET enable_bitmapscan = off")
            .await;
    }
    application
        .run("BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE sync_operations SET processed_items = 1 WHERE owner = 'alice'")
        .await;
    relay.run("BEGIN; SELECT create_sync_status_snapshot(); DO $$ BEGIN WHILE bellwether.mark_stalled('1 microsecond') = 0 LOOP END LOOP; END $$").await;
    other.run("BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE sync_operations SET processed_items = 1 WHERE owner = 'bob'").await;
    relay.run("COMMIT").await;
    application
        .run("UPDATE sync_operations SET processed_items = 2 WHERE owner = 'alice'")
        .await;
    other
        .run("SELECT record_sync_error(id, 'broken') FROM sync_operations WHERE owner = 'bob'")
        .await;
    other.run("COMMIT").await;
    application.run("COMMIT").await;
    probe
        .holds("SELECT sum(processed_items) = 3 FROM sync_operations")
        .await;
}

#[tokio::test]
async fn an_error_that_is_recorded_does_not_hold_up_reports_of_its_operation() {
    let probe = Probe::new().await;
    let (first, second) = (probe.another().await, probe.another().await);
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'in_progress')",
        )
        .await;
    first
        .run("BEGIN; SELECT record_sync_error(id, 'broken') FROM sync_operations")
        .await;
    second.run("SET lock_timeout = '10s'; UPDATE sync_operations SET processed_items = 1, failed_items = 1").await;
    first.run("COMMIT").await;
    assert_eq!(
        probe.kinds().await,
        ["operation.created", "error.recorded", "operation.progress"]
    );
}

#[tokio::test]
async fn a_migrated_database_can_be_dumped_and_restored_with_its_rows() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'in_progress');
             SELECT record_sync_error(id, 'broken') FROM sync_operations;
             SELECT report_connection('a');
             SELECT create_sync_status_snapshot();",
        )
        .await;
    let copy = TestDatabase::empty().await;
    let dump = Command::new(probe.client_program("pg_dump").await)
        .args(["--dbname", &probe.database.url()])
        .output()
        .expect("pg_dump, which comes with PostgreSQL");
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    let mut restore = Command::new(probe.client_program("psql").await)
        .args([
            "--quiet",
            "--no-psqlrc",
            "--set",
            "ON_ERROR_STOP=1",
            "--dbname",
            &copy.url(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("psql, which comes with PostgreSQL");
    let mut input = restore.stdin.take().expect("its input");
    input.write_all(&dump.stdout).expect("psql reads");
    drop(input);
    assert!(restore.wait().expect("an end").success());
    let restored = Session(copy.client().await);
    for table in [
        "sync_operations",
        "sync_operation_errors",
        "connection_status",
        "sync_status_snapshots",
    ] {
        let query = format!("SELECT * FROM {table}");
        assert_eq!(restored.json(&query).await, probe.json(&query).await);
    }
    assert_eq!(restored.events().await, probe.events().await);
    restored
        .run("UPDATE sync_operations SET processed_items = 1")
        .await;
    let last = restored.events().await.pop().expect("an event");
    assert_eq!(
        (last.kind.as_str(), &last.data["processed_items"]),
        ("operation.progress", &json!(1))
    );
}
