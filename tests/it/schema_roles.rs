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
        "capture_inserted_operations",
        "capture_updated_operations",
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
    probe.run("SELECT bellwether.promise_to_look(1000)").await;
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

/// Makes, in the schema `hostile`, an operator and a function for each of `pg_catalog` that takes types of our columns, and
/// types of the same names. Each says so when it is run with somebody else's rights. (A function cannot be told whose
/// rights it has without a name of `pg_catalog`, so those are left out that it is told by.)
const HOSTILE: &str = "
    CREATE SCHEMA hostile;
    GRANT USAGE ON SCHEMA hostile TO PUBLIC;
    DO $do$
    DECLARE
        types  constant text := '(text|uuid|bigint|integer|smallint|boolean|numeric|real|double precision|jsonb|json|timestamp with time zone|interval|regclass|xid8)';
        said   constant text := $body$DECLARE a constant pg_catalog.name := current_user; b constant pg_catalog.name := session_user; BEGIN
            IF a OPERATOR(pg_catalog.<>) b THEN RAISE EXCEPTION 'ran as % for %', a, b; END IF; RETURN NULL; END$body$;
        r      record;
    BEGIN
        FOR r IN SELECT o.oid, o.oprname, format_type(o.oprleft, NULL) AS lefty, format_type(o.oprright, NULL) AS righty, format_type(o.oprresult, NULL) AS result
                 FROM pg_operator o WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprkind = 'b'
                   AND format_type(o.oprleft, NULL) ~ ('^' || types || '$') AND format_type(o.oprright, NULL) ~ ('^' || types || '$') LOOP
            EXECUTE format('CREATE FUNCTION hostile.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', r.oid, r.lefty, r.righty, r.result, said);
            EXECUTE format('CREATE OPERATOR hostile.%s (leftarg = %s, rightarg = %s, function = hostile.operator_%s)', r.oprname, r.lefty, r.righty, r.oid);
        END LOOP;
        FOR r IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, format_type(p.prorettype, NULL) AS result
                 FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset
                   AND format_type(p.prorettype, NULL) ~ ('^' || types || '$')
                   AND (pg_get_function_identity_arguments(p.oid) ~ ('^' || types || '(, ' || types || ')*$') OR p.pronargs = 0)
                   AND p.proname NOT IN ('current_user', 'session_user') LOOP
            EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', r.proname, r.arguments, r.result, said);
        END LOOP;
    END $do$;
    CREATE FUNCTION hostile.is_mine() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
        IF current_user OPERATOR(pg_catalog.<>) session_user THEN RAISE EXCEPTION 'ran as % for %', current_user, session_user; END IF;
        RETURN true; END$$;
    CREATE DOMAIN hostile.text AS pg_catalog.text CHECK (hostile.is_mine());
    CREATE DOMAIN hostile.json AS pg_catalog.json CHECK (hostile.is_mine());
    CREATE DOMAIN hostile.regclass AS pg_catalog.regclass CHECK (hostile.is_mine())";

#[tokio::test]
async fn nothing_of_a_writers_own_is_found_and_run_with_the_owners_rights() {
    let probe = Probe::new().await;
    probe.run(HOSTILE).await;
    let role = probe
        .new_role(&format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {USER_TABLES} TO {{role}}"
        ))
        .await;
    let writer = probe.session_of(&role).await;
    // What PostgreSQL looks for in pg_catalog by itself it finds there last. What derives columns runs with the writer's
    // rights and by his path, and would come to nothing here.
    probe
        .run("ALTER TABLE sync_operations DISABLE TRIGGER zz_bellwether_derives_what_it_can")
        .await;
    writer.run("SET search_path = hostile, pg_catalog").await;
    let update = |what: &str, changed_from: &str| {
        format!(
            "UPDATE public.sync_operations SET event_id = pg_catalog.nextval('bellwether.event_id'), {what}, changed_from = '{changed_from}'"
        )
    };
    for statement in [
        "INSERT INTO public.sync_operations (operation_type, status, total_items, event_id) VALUES ('upload', 'in_progress', 10, 1), ('upload', 'pending', 10, 2), ('upload', 'failed', 10, 3)",
        "UPDATE public.sync_operations SET message = 'a sign of life', event_id = NULL",
        &update("processed_items = 5", "{}"),
        &update(
            "status = 'paused', owner = 'alice'",
            r#"{"status": "in_progress", "owner": null}"#,
        ),
        &update(
            "status = 'in_progress', owner = 'bob'",
            r#"{"status": "paused", "owner": "alice"}"#,
        ),
        &update("status = 'pending'", r#"{"status": "in_progress"}"#),
        &update("status = 'cancelled'", r#"{"status": "pending"}"#),
        "DELETE FROM public.sync_operations",
    ] {
        for doorbell in ["always", "adaptive"] {
            writer
                .run(&format!(
                    "BEGIN; SET LOCAL bellwether.doorbell = '{doorbell}'; {statement}; ROLLBACK"
                ))
                .await;
        }
        writer.run(statement).await;
    }
    assert_eq!(
        probe.kinds().await[3..],
        [
            ["operation.progress"; 3].as_slice(),
            &["operation.paused"; 3],
            &["operation.resumed"; 3],
            &["operation.requeued"; 3],
            &["operation.cancelled"; 3],
            &["operation.deleted"; 3],
        ]
        .concat()
    );
    drop(writer);
    probe.drop_role(&role).await;
}

#[tokio::test]
async fn every_function_that_writes_for_others_is_out_of_their_reach() {
    let probe = Probe::new().await;
    let loose = "SELECT coalesce(string_agg(p.oid::regprocedure::text, ', '), '') FROM pg_proc p
        WHERE pronamespace = 'bellwether'::regnamespace AND prosecdef
          AND (has_function_privilege('public', p.oid, 'EXECUTE')
               OR (proconfig @> ARRAY['search_path=pg_catalog, pg_temp']) IS NOT TRUE AND proname NOT IN ('capture_inserted_operations', 'capture_updated_operations'))";
    assert_eq!(probe.text(loose).await, "");
}
