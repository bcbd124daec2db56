//! How the schema gets into a database, and when it does not.

use std::fs;

use bellwether::postgres::{
    MigrateError, MigrationReport, check, migrate,
    schema::{FUNCTIONS, MIGRATIONS},
};
use futures::future::join_all;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::support::{PATIENCE, PrivateServer, TestDatabase, chain, eventually};

fn all_versions() -> Vec<i32> {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .collect()
}

fn all_functions() -> Vec<&'static str> {
    FUNCTIONS.iter().map(|function| function.name).collect()
}

async fn execute(client: &Client, statements: &str) {
    client
        .batch_execute(statements)
        .await
        .unwrap_or_else(|error| panic!("{statements}: {}", chain(&error)));
}

#[tokio::test]
async fn an_empty_database_gets_everything_and_then_nothing_more() {
    let database = TestDatabase::empty().await;
    let first = migrate(&database.config()).await.expect("a migration");
    assert_eq!(first.applied, all_versions());
    assert_eq!(first.functions, all_functions());

    let second = migrate(&database.config()).await.expect("a migration");
    assert_eq!(second, MigrationReport::default());
    assert!(second.to_string().ends_with("nothing to do"), "{second}");
    check(&database.client().await)
        .await
        .expect("what is needed");
}

#[tokio::test]
async fn migrating_what_is_up_to_date_writes_nothing() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let records = async || -> String {
        let writers = "SELECT string_agg(xmin::text, ',') FROM
            (SELECT xmin FROM bellwether.migration UNION ALL SELECT xmin FROM bellwether.function) AS record";
        client
            .query_one(writers, &[])
            .await
            .expect("the records")
            .get(0)
    };
    let before = records().await;
    migrate(&database.config()).await.expect("a migration");
    assert_eq!(records().await, before);
}

#[tokio::test]
async fn checking_says_what_is_missing() {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    let error = check(&client).await.expect_err("nothing is there");
    assert!(matches!(error, MigrateError::Behind { .. }), "{error}");
    assert!(error.to_string().contains("bellwether migrate"), "{error}");

    migrate(&database.config()).await.expect("a migration");
    execute(
        &client,
        "DELETE FROM bellwether.function WHERE name = 'ring'",
    )
    .await;
    let error = check(&client).await.expect_err("one is missing");
    assert_eq!(
        error.to_string(),
        "the database lacks functions ring; run `bellwether migrate`"
    );
}

#[tokio::test]
async fn twenty_migrators_at_once_do_the_work_once() {
    let database = TestDatabase::empty().await;
    let runs = (0..20).map(|_| {
        let config = database.config();
        tokio::spawn(async move { migrate(&config).await })
    });
    let mut applied = Vec::new();
    let mut functions = Vec::new();
    for run in join_all(runs).await {
        let report = run.expect("no panic").expect("a migration");
        applied.extend(report.applied);
        functions.extend(report.functions);
    }
    applied.sort_unstable();
    assert_eq!(applied, all_versions());
    assert_eq!(functions, all_functions());
    check(&database.client().await)
        .await
        .expect("what is needed");
}

#[tokio::test]
async fn only_the_function_that_changed_is_applied_again() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "UPDATE bellwether.function SET checksum = 'other' WHERE name = 'ring'",
    )
    .await;
    let report = migrate(&database.config()).await.expect("a migration");
    assert_eq!((report.applied, report.functions), (vec![], vec!["ring"]));
    check(&client).await.expect("what is needed");
}

#[tokio::test]
async fn a_function_that_is_gone_from_the_files_is_forgotten() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "INSERT INTO bellwether.function (name, checksum, applied_by) VALUES ('gone', '', '0.0.1');
         UPDATE bellwether.function SET checksum = 'other' WHERE name = 'ring'",
    )
    .await;
    migrate(&database.config()).await.expect("a migration");
    let gone = "SELECT count(*) FROM bellwether.function WHERE name = 'gone'";
    let count: i64 = client.query_one(gone, &[]).await.expect("a count").get(0);
    assert_eq!(count, 0);
}

#[tokio::test]
async fn a_migration_that_was_edited_after_it_was_applied_is_refused() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "UPDATE bellwether.migration SET checksum = 'other' WHERE version = 1",
    )
    .await;
    for error in [
        migrate(&database.config())
            .await
            .map(drop)
            .expect_err("an edited file"),
        check(&client).await.expect_err("an edited file"),
    ] {
        assert!(
            matches!(error, MigrateError::ChecksumDiffers { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(MIGRATIONS[0].name), "{error}");
    }
}

#[tokio::test]
async fn a_database_that_a_newer_binary_has_migrated_is_refused() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "INSERT INTO bellwether.migration (version, name, checksum) VALUES (9999, '9999_from_the_future', '')",
    )
    .await;
    for error in [
        migrate(&database.config())
            .await
            .map(drop)
            .expect_err("a newer database"),
        check(&client).await.expect_err("a newer database"),
    ] {
        assert!(
            matches!(error, MigrateError::DatabaseNewer { .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains("9999_from_the_future"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_older_binary_does_not_undo_a_newer_function() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "UPDATE bellwether.function SET checksum = 'other', applied_by = '999.0.0' WHERE name = 'ring'",
    )
    .await;
    let error = migrate(&database.config())
        .await
        .expect_err("a newer function");
    assert!(
        matches!(error, MigrateError::DatabaseNewer { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_migration_that_fails_names_its_line_and_can_be_mended() {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    execute(&client, "CREATE TABLE public.sync_operations (mine text)").await;
    let error = migrate(&database.config())
        .await
        .expect_err("the name is taken");
    assert!(
        error
            .to_string()
            .contains("migration 0002_user_tables failed"),
        "{error}"
    );
    assert!(
        chain(&error).contains("sync_operations"),
        "{}",
        chain(&error)
    );

    execute(&client, "DROP TABLE public.sync_operations").await;
    let report = migrate(&database.config()).await.expect("a migration");
    assert_eq!(report.applied, all_versions()[1..]);
    check(&client).await.expect("what is needed");
}

#[tokio::test]
async fn a_table_that_is_in_use_is_waited_for_without_holding_up_its_writers() {
    let database = TestDatabase::new().await;
    let (mut user, watcher) = (database.client().await, database.client().await);
    execute(&watcher, "UPDATE bellwether.function SET checksum = ''").await;
    let busy = user.transaction().await.expect("a transaction");
    busy.batch_execute("LOCK TABLE public.sync_operations IN ROW EXCLUSIVE MODE")
        .await
        .expect("a lock");
    let config = database.config();
    let migrating = tokio::spawn(async move { migrate(&config).await });

    let waits = async || -> bool {
        watcher
            .query_one(
                "SELECT count(*) > 0 FROM pg_locks
                 WHERE relation = 'public.sync_operations'::regclass AND NOT granted",
                &[],
            )
            .await
            .expect("the locks")
            .get(0)
    };
    eventually("the migrator waits for the table", &waits).await;
    eventually("the migrator gives up for now", async || !waits().await).await;
    assert!(!migrating.is_finished());

    busy.rollback().await.expect("a rollback");
    let report = migrating.await.expect("no panic").expect("a migration");
    assert_eq!(report.functions, all_functions());
}

#[tokio::test]
async fn a_standby_is_refused() {
    let mut server = PrivateServer::migrated().await;
    server.postgres.stop().await;
    fs::write(server.folder().join("cluster/standby.signal"), "").expect("a signal file");
    server.postgres.restart().await.expect("a standby");
    let error = migrate(&server.config()).await.expect_err("a standby");
    assert!(matches!(error, MigrateError::Standby), "{error}");
    assert!(
        error.to_string().contains("target_session_attrs"),
        "{error}"
    );
}

#[tokio::test]
async fn what_the_migrator_keeps_is_explained_in_the_database() {
    let database = TestDatabase::new().await;
    let rows = database
        .client()
        .await
        .query(
            "SELECT attrelid::regclass::text || '.' || attname FROM pg_attribute
             WHERE attrelid IN ('bellwether.migration'::regclass, 'bellwether.function'::regclass)
               AND attnum > 0 AND col_description(attrelid, attnum) IS NULL
             UNION ALL
             SELECT oid::regclass::text FROM pg_class
             WHERE oid IN ('bellwether.migration'::regclass, 'bellwether.function'::regclass)
               AND obj_description(oid, 'pg_class') IS NULL",
            &[],
        )
        .await
        .expect("the catalogue");
    let bare: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(bare, Vec::<String>::new());
}

#[tokio::test]
async fn a_demo_that_is_to_leave_the_schema_as_it_is_does_not_begin_without_one() {
    let database = TestDatabase::empty().await;
    let url = database.url();
    let demo = Command::new(env!("CARGO_BIN_EXE_bellwether"))
        .args([
            "demo",
            "--no-migrate",
            "--listen",
            "127.0.0.1:0",
            "--database-url",
            &url,
        ])
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, demo)
        .await
        .expect("it ends")
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("the database lacks schema bellwether"),
        "{said}"
    );
    let schema = "SELECT count(*) FROM pg_namespace WHERE nspname = 'bellwether'";
    let row = database.client().await.query_one(schema, &[]).await;
    assert_eq!(row.expect("asked").get::<_, i64>(0), 0);
}
