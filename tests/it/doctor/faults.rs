//! What somebody has done to the schema.

use super::doctor;
use crate::support::{TestDatabase, chain};

async fn execute(database: &TestDatabase, statements: &str) {
    database
        .client()
        .await
        .batch_execute(statements)
        .await
        .unwrap_or_else(|error| panic!("{statements}: {}", chain(&error)));
}

/// What every test's database has, since tests run no relay and their server is fast rather than safe.
const USUAL: [(&str, &str); 3] = [
    ("durability", "warning"),
    ("doorbell_mode", "warning"),
    ("relays", "warning"),
];

#[tokio::test]
async fn a_database_without_a_schema_is_told_to_be_migrated_and_the_rest_is_not_asked() {
    let database = TestDatabase::empty().await;
    let report = doctor(&database.url(), &[]).await;
    assert_eq!(report.code, 1);
    assert_eq!(report.status("migrations"), "failure");
    assert!(report.advice("migrations")[0].contains("bellwether migrate"));
    for skipped in ["tables", "functions", "triggers", "lease", "retention"] {
        assert_eq!(report.status(skipped), "skipped");
    }
    assert_eq!(report.status("doorbell"), "ok", "it needs no schema");
}

#[tokio::test]
async fn a_disabled_trigger_is_found_and_the_advice_mends_it() {
    let database = TestDatabase::new().await;
    execute(
        &database,
        "ALTER TABLE public.sync_operations DISABLE TRIGGER bellwether_records_updates;
         ALTER TABLE public.connection_status ENABLE REPLICA TRIGGER bellwether_records_inserts;
         ALTER TABLE public.sync_operation_errors DISABLE TRIGGER zz_bellwether_keeps_the_revision",
    )
    .await;
    let report = doctor(&database.url(), &[]).await;
    assert_eq!((report.code, report.status("triggers")), (1, "failure"));
    let found = report.found("triggers");
    for expected in [
        "bellwether_records_updates on public.sync_operations (disabled)",
        "bellwether_records_inserts on public.connection_status (fires for replicated rows only)",
        "zz_bellwether_keeps_the_revision on public.sync_operation_errors (disabled)",
    ] {
        assert!(found.contains(expected), "{found}");
    }
    execute(&database, report.advice("triggers")[0]).await;
    assert_eq!(doctor(&database.url(), &[]).await.troubles(), USUAL);
}

#[tokio::test]
async fn what_is_missing_or_was_replaced_by_hand_is_found_and_the_advice_mends_it() {
    let database = TestDatabase::new().await;
    execute(
        &database,
        "DROP TRIGGER bellwether_records_deletes ON public.sync_operations;
         DROP FUNCTION public.update_sync_progress;
         CREATE OR REPLACE FUNCTION bellwether.ring() RETURNS void LANGUAGE plpgsql SET search_path = '' AS 'BEGIN END';
         CREATE OR REPLACE TRIGGER bellwether_records_inserts AFTER INSERT ON public.sync_operations
             FOR EACH ROW WHEN (NEW.owner = 'alice') EXECUTE FUNCTION bellwether.capture_sync_operation();
         ALTER FUNCTION bellwether.capture_truncate() SECURITY INVOKER",
    )
    .await;
    let report = doctor(&database.url(), &[]).await;
    assert_eq!(
        report.status("migrations"),
        "ok",
        "its records know nothing of it"
    );
    let figures = &report.check("functions")["figures"];
    assert_eq!(figures["missing"][0], "public.update_sync_progress");
    assert_eq!(
        figures["changed"].to_string(),
        r#"["bellwether.capture_truncate","bellwether.ring"]"#
    );
    let figures = &report.check("triggers")["figures"];
    assert_eq!(
        figures["missing"][0],
        "bellwether_records_deletes on public.sync_operations"
    );
    assert_eq!(
        figures["changed"][0],
        "bellwether_records_inserts on public.sync_operations"
    );

    let advice = report.advice("functions")[0];
    assert!(advice.starts_with("DELETE FROM bellwether.function; then run `bellwether migrate`"));
    execute(&database, "DELETE FROM bellwether.function").await;
    bellwether::postgres::migrate(&database.config())
        .await
        .expect("a migration");
    assert_eq!(doctor(&database.url(), &[]).await.troubles(), USUAL);
}

#[tokio::test]
async fn a_capture_function_that_anybody_may_execute_is_a_warning() {
    let database = TestDatabase::new().await;
    execute(
        &database,
        "GRANT EXECUTE ON FUNCTION bellwether.capture_sync_operation() TO PUBLIC",
    )
    .await;
    let report = doctor(&database.url(), &[]).await;
    assert_eq!(report.status("functions"), "warning");
    execute(&database, report.advice("functions")[0]).await;
    assert_eq!(doctor(&database.url(), &[]).await.status("functions"), "ok");
}

#[tokio::test]
async fn a_trigger_of_others_that_fires_after_ours_is_a_warning() {
    let database = TestDatabase::new().await;
    execute(
        &database,
        "CREATE FUNCTION public.mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.owner := ''x''; RETURN NEW; END';
         CREATE TRIGGER zzz_late BEFORE UPDATE ON public.sync_operations FOR EACH ROW EXECUTE FUNCTION public.mine();
         CREATE TRIGGER early BEFORE UPDATE ON public.sync_operations FOR EACH ROW EXECUTE FUNCTION public.mine()",
    )
    .await;
    let report = doctor(&database.url(), &[]).await;
    assert_eq!(report.status("triggers"), "warning");
    assert_eq!(
        report.check("triggers")["figures"]["firing_after_ours"].to_string(),
        r#"["zzz_late on public.sync_operations"]"#
    );
}

#[tokio::test]
async fn a_migration_that_is_missing_newer_or_edited_is_told_apart() {
    for (statement, words) in [
        (
            "DELETE FROM bellwether.migration WHERE version = 3",
            "lacks migrations 0003_timeline_index",
        ),
        (
            "INSERT INTO bellwether.migration (version, name, checksum) VALUES (9999, '9999_from_the_future', '')",
            "newer than this binary: it has migration 9999_from_the_future",
        ),
        (
            "UPDATE bellwether.migration SET checksum = 'other' WHERE version = 1",
            "was applied with other contents",
        ),
        (
            "UPDATE bellwether.function SET checksum = 'other' WHERE name = 'ring'",
            "lacks functions ring",
        ),
    ] {
        let database = TestDatabase::new().await;
        execute(&database, statement).await;
        let report = doctor(&database.url(), &[]).await;
        assert_eq!((report.code, report.status("migrations")), (1, "failure"));
        let found = report.found("migrations");
        assert!(found.contains(words), "{found}");
        assert_eq!(report.advice("migrations").len(), 1);
        assert_eq!(report.status("triggers"), "ok", "the others are asked");
    }
}

#[tokio::test]
async fn tables_that_a_crash_would_empty_or_that_lost_an_index_are_found() {
    let database = TestDatabase::new().await;
    execute(
        &database,
        "ALTER TABLE public.connection_status SET UNLOGGED;
         DROP INDEX public.sync_operations_of_an_owner;
         ALTER TABLE public.sync_operations ENABLE ROW LEVEL SECURITY;
         ALTER TABLE bellwether.event_1 SET (autovacuum_enabled = off)",
    )
    .await;
    let report = doctor(&database.url(), &[]).await;
    let figures = &report.check("tables")["figures"];
    assert_eq!(report.status("tables"), "failure");
    assert_eq!(figures["unlogged"][0], "public.connection_status");
    assert_eq!(
        figures["missing_indexes"][0],
        "public.sync_operations_of_an_owner"
    );
    assert_eq!(figures["row_level_security"][0], "public.sync_operations");
    assert_eq!(
        report.check("vacuum")["figures"]["switched_off"][0],
        "bellwether.event_1"
    );
    execute(&database, report.advice("vacuum")[0]).await;
    assert_eq!(doctor(&database.url(), &[]).await.status("vacuum"), "ok");
}

#[tokio::test]
async fn a_table_that_was_made_a_child_of_another_is_found_and_the_advice_mends_it() {
    let database = TestDatabase::new().await;
    execute(
        &database,
        "CREATE TABLE everything (id uuid NOT NULL); ALTER TABLE public.sync_operations INHERIT everything",
    )
    .await;
    let report = doctor(&database.url(), &[]).await;
    assert_eq!((report.code, report.status("tables")), (1, "failure"));
    let found = report.found("tables");
    assert!(found.contains("public.sync_operations"), "{found}");
    execute(
        &database,
        "ALTER TABLE public.sync_operations NO INHERIT everything",
    )
    .await;
    let report = doctor(&database.url(), &[]).await;
    assert_eq!(report.status("tables"), "ok");
}

#[tokio::test]
async fn a_check_that_hangs_says_so_and_does_not_keep_the_others_from_it() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    client
        .batch_execute("BEGIN; LOCK TABLE bellwether.event IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("locked");
    let report = doctor(&database.url(), &["--timeout", "3s"]).await;
    for blocked in ["log_size", "retention"] {
        assert_eq!(report.status(blocked), "failure");
        let found = report.found(blocked);
        assert!(found.starts_with("could not be checked"), "{found}");
    }
    assert_eq!(report.status("relays"), "warning", "asked after them");
    assert_eq!(report.code, 1);
}
