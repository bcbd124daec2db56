//! Writers with few rights, and what they cannot do.

use bellwether::postgres;

use crate::schema_probe::{Bell, Probe};

const USER_TABLES: &str =
    "sync_operations, sync_operation_errors, connection_status, sync_status_snapshots";

#[tokio::test]
async fn a_role_that_may_write_only_the_user_tables_can_do_everything_that_an_application_does() {
    let probe = Probe::new().await;
    let role = probe
        .new_role(&format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {USER_TABLES} TO {{role}}"
        ))
        .await;
    let mut bell = Bell::new(&probe.database).await;
    let writer = probe.session_of(&role).await;
    for statement in [
        "INSERT INTO sync_operations (operation_type, status, total_items) VALUES ('upload', 'in_progress', 10)",
        "UPDATE sync_operations SET processed_items = 5, owner = 'alice'",
        "INSERT INTO sync_operation_errors (operation_id, message) SELECT id, 'broken' FROM sync_operations",
        "INSERT INTO connection_status (client_id) VALUES ('a')",
        "UPDATE connection_status SET status = 'error'",
        "SELECT create_sync_operation('upload')",
        "SELECT update_sync_progress(id, 6) FROM sync_operations WHERE owner = 'alice'",
        "SELECT record_sync_error(id, 'broken') FROM sync_operations WHERE owner = 'alice'",
        "SELECT complete_sync_operation(id) FROM sync_operations WHERE owner = 'alice'",
        "SELECT report_connection('b')",
        "SELECT create_sync_status_snapshot()",
        "SELECT sync_health_score(1), sync_health_status(1)",
        "DELETE FROM sync_operations WHERE owner = 'alice'",
        "TRUNCATE sync_operations, sync_operation_errors",
    ] {
        probe.forget_events().await;
        bell.rings().await;
        writer.run(statement).await;
        if !statement.contains("sync_health_score") {
            assert_ne!(probe.events().await, [], "{statement}");
            assert_eq!(bell.rings().await, 1, "{statement}");
        }
    }
    drop(writer);
    probe.drop_role(&role).await;
}

#[tokio::test]
async fn a_role_that_may_only_insert_and_report_needs_no_other_right() {
    let probe = Probe::new().await;
    let role = probe
        .new_role(
            "GRANT INSERT (id, operation_type, status, total_items), UPDATE (processed_items, status), SELECT (id) ON sync_operations TO {role}",
        )
        .await;
    let writer = probe.session_of(&role).await;
    writer.run("INSERT INTO sync_operations (operation_type, status, total_items) VALUES ('upload', 'in_progress', 10)").await;
    writer
        .run("UPDATE sync_operations SET processed_items = 5")
        .await;
    writer
        .run("UPDATE sync_operations SET status = 'completed'")
        .await;
    assert_eq!(
        probe.kinds().await,
        [
            "operation.created",
            "operation.progress",
            "operation.completed"
        ]
    );
    probe
        .holds("SELECT duration_seconds > 0 AND progress = 100 FROM sync_operations")
        .await;
    drop(writer);
    probe.drop_role(&role).await;
}

#[tokio::test]
async fn a_role_without_rights_can_neither_read_nor_forge_the_log() {
    let probe = Probe::new().await;
    let role = probe
        .new_role("GRANT CREATE ON SCHEMA public TO {role}")
        .await;
    let writer = probe.session_of(&role).await;
    writer.run("CREATE TABLE mine (id uuid, status text, owner text, operation_type text, source text, revision bigint)").await;
    let mut forgeries = vec![
        "SELECT * FROM bellwether.event".to_owned(),
        "INSERT INTO bellwether.event (topic, type, entity, revision, payload) VALUES ('operations', 'x', 'x', 1, '{}')".to_owned(),
        "DELETE FROM bellwether.event".to_owned(),
        "UPDATE bellwether.log SET trimmed_through = '100'".to_owned(),
        "INSERT INTO bellwether.stalled_operation VALUES (gen_random_uuid(), now())".to_owned(),
        "SELECT bellwether.mark_stalled('1 hour')".to_owned(),
        "UPDATE sync_operations SET message = 'mine'".to_owned(),
    ];
    for function in [
        "capture_sync_operation",
        "capture_sync_operation_error",
        "capture_connection_status",
        "capture_sync_status_snapshot",
        "capture_truncate",
        "capture_moved_row",
    ] {
        forgeries.push(format!("CREATE TRIGGER forges AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION bellwether.{function}('operations')"));
    }
    for forgery in forgeries {
        let refusal = writer.refusal(&forgery).await;
        assert_eq!(refusal.sqlstate, "42501", "{forgery}: {}", refusal.message);
    }
    drop(writer);
    probe.drop_role(&role).await;
}

#[tokio::test]
async fn a_role_without_rights_cannot_hold_up_what_relays_and_migrators_do() {
    let probe = Probe::new().await;
    let role = probe.new_role("SELECT '{role}'").await;
    let stranger = probe.session_of(&role).await;
    // The words that other programs, and earlier versions of this one, take such locks by.
    for job in ["lease", "trim_log", "mark_stalled", "summarize_event_index"] {
        let take = format!("SELECT pg_advisory_lock(hashtextextended('bellwether.{job}', 0))");
        stranger.run(&take).await;
    }
    stranger
        .run("SELECT pg_advisory_lock(x'62656c6c77657468'::bigint)")
        .await;
    // Reading is enough for the weakest lock; who may read the log can keep a slot from being emptied, and nobody else.
    for (table, mode) in [
        ("timeline", "SHARE UPDATE EXCLUSIVE"),
        ("log", "SHARE UPDATE EXCLUSIVE"),
        ("stalled_operation", "SHARE UPDATE EXCLUSIVE"),
        ("migration", "ACCESS SHARE"),
        ("event", "ACCESS SHARE"),
    ] {
        let lock = format!("DO $$BEGIN LOCK TABLE bellwether.{table} IN {mode} MODE; END$$");
        assert_eq!(stranger.refusal(&lock).await.sqlstate, "42501", "{table}");
    }
    // A lock that is waited for in vain fails a statement here.
    probe
        .run("SET lock_timeout = '5s'; SET statement_timeout = '10s'")
        .await;
    probe
        .run("INSERT INTO sync_operations (operation_type, status) VALUES ('x', 'in_progress')")
        .await;
    probe.run("SELECT bellwether.extend_lease(1000)").await;
    probe
        .holds("SELECT last_value > 0 FROM bellwether.lease")
        .await;
    probe
        .holds("SELECT bellwether.mark_stalled('1 microsecond') = 1")
        .await;
    let slot = "SELECT pg_sequence_last_value('bellwether.event_slot')::text";
    let before = probe.text(slot).await;
    probe.run("UPDATE bellwether.event SET at = at - interval '2 hours'; SELECT bellwether.trim_log('1 hour')").await;
    assert_ne!(
        probe.text(slot).await,
        before,
        "the next slot is written to"
    );
    probe.run("DELETE FROM bellwether.function").await;
    let report = postgres::migrate(&probe.database.config()).await;
    assert_ne!(report.expect("migrated").functions, [""; 0]);
    drop(stranger);
    probe.drop_role(&role).await;
}

#[tokio::test]
async fn types_of_a_writers_own_are_not_run_with_the_owners_rights() {
    let probe = Probe::new().await;
    let role = probe
        .new_role(&format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {USER_TABLES} TO {{role}}"
        ))
        .await;
    let writer = probe.session_of(&role).await;
    // A type in pg_temp is found before one of pg_catalog wherever pg_temp is not named in the search_path.
    writer
        .run(
            "CREATE TEMP TABLE ran_as (name name); GRANT ALL ON ran_as TO PUBLIC;
             CREATE FUNCTION pg_temp.note() RETURNS boolean LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO pg_temp.ran_as VALUES (current_user); RETURN true; END';
             CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (pg_temp.note());
             CREATE DOMAIN pg_temp.json AS pg_catalog.json CHECK (pg_temp.note());
             CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb CHECK (pg_temp.note());
             CREATE DOMAIN pg_temp.timestamptz AS pg_catalog.timestamptz CHECK (pg_temp.note());
             CREATE DOMAIN pg_temp.regclass AS pg_catalog.regclass CHECK (pg_temp.note());",
        )
        .await;
    writer
        .run(
            "INSERT INTO sync_operations (operation_type, status, total_items) VALUES ('upload', 'in_progress', 10);
             UPDATE sync_operations SET processed_items = 5, owner = 'alice';
             INSERT INTO sync_operation_errors (operation_id, message) SELECT id, 'broken' FROM sync_operations;
             INSERT INTO connection_status (client_id) VALUES ('a');
             UPDATE connection_status SET status = 'error';
             DELETE FROM connection_status;
             SELECT public.create_sync_status_snapshot();
             DELETE FROM sync_operations;
             TRUNCATE sync_operations, sync_operation_errors",
        )
        .await;
    let others = "SELECT coalesce(string_agg(DISTINCT name, ', '), '') FROM pg_temp.ran_as WHERE name <> session_user";
    assert_eq!(writer.text(others).await, "");
    drop(writer);
    probe.drop_role(&role).await;
}

#[tokio::test]
async fn every_function_that_writes_for_others_is_out_of_their_reach() {
    let probe = Probe::new().await;
    let loose = "SELECT coalesce(string_agg(p.oid::regprocedure::text, ', '), '') FROM pg_proc p
        WHERE pronamespace = 'bellwether'::regnamespace AND prosecdef
          AND (has_function_privilege('public', p.oid, 'EXECUTE') OR NOT proconfig @> ARRAY['search_path=pg_catalog, pg_temp'])";
    assert_eq!(probe.text(loose).await, "");
}
