//! When the doorbell rings, and when it is told not to.

use crate::schema_probe::{Bell, Probe};

const WRITE: &str = "INSERT INTO sync_operations (operation_type) VALUES ('upload')";

#[tokio::test]
async fn a_transaction_rings_once_when_it_commits_and_carries_nothing() {
    let probe = Probe::new().await;
    let mut bell = Bell::new(&probe.database).await;
    probe.run("BEGIN; INSERT INTO sync_operations (operation_type) SELECT 'upload' FROM generate_series(1, 100)").await;
    probe.run("SELECT record_sync_error(id, 'broken'), report_connection(id::text) FROM sync_operations; DELETE FROM sync_operations").await;
    assert_eq!(bell.rings().await, 0, "not before the commit");
    probe.run("COMMIT").await;
    assert_eq!(bell.rings().await, 1);
    probe.run(WRITE).await;
    probe.run(WRITE).await;
    assert_eq!(bell.rings().await, 2);
}

#[tokio::test]
async fn every_table_rings() {
    let probe = Probe::new().await;
    let mut bell = Bell::new(&probe.database).await;
    for statement in [
        WRITE,
        "UPDATE sync_operations SET status = 'in_progress'",
        "INSERT INTO sync_operation_errors (operation_id, message) SELECT id, 'broken' FROM sync_operations",
        "DELETE FROM sync_operation_errors",
        "INSERT INTO connection_status (client_id) VALUES ('a')",
        "SELECT create_sync_status_snapshot()",
        "DO $$ BEGIN WHILE bellwether.mark_stalled('1 microsecond') = 0 LOOP END LOOP; END $$",
        "TRUNCATE connection_status",
    ] {
        probe.run(statement).await;
        assert_eq!(bell.rings().await, 1, "{statement}");
    }
}

#[tokio::test]
async fn a_session_a_role_or_a_database_that_says_never_rings_no_bell() {
    let probe = Probe::new().await;
    let mut bell = Bell::new(&probe.database).await;
    probe
        .run(&format!(
            "SET bellwether.doorbell = 'never'; {WRITE}; TRUNCATE connection_status; SELECT report_connection('a'); RESET bellwether.doorbell"
        ))
        .await;
    assert_eq!(bell.rings().await, 0, "the session says never");
    probe.run(WRITE).await;
    assert_eq!(bell.rings().await, 1, "the session says nothing any more");

    let role = probe.new_role("GRANT INSERT, SELECT ON sync_operations TO {role}; ALTER ROLE {role} SET bellwether.doorbell = 'never'").await;
    let quiet = probe.session_of(&role).await;
    quiet.run(WRITE).await;
    assert_eq!(bell.rings().await, 0, "the role says never");
    quiet
        .run(&format!("SET bellwether.doorbell = 'always'; {WRITE}"))
        .await;
    assert_eq!(
        bell.rings().await,
        1,
        "the session knows better than the role"
    );
    drop(quiet);
    probe.drop_role(&role).await;

    let database = probe.database.name();
    probe
        .run(&format!(
            "ALTER DATABASE {database} SET bellwether.doorbell = 'never'"
        ))
        .await;
    let quiet = probe.another().await;
    quiet.run(WRITE).await;
    assert_eq!(bell.rings().await, 0, "the database says never");
    assert_eq!(
        probe.kinds().await.len(),
        7,
        "what rings no bell is in the log all the same"
    );
}

#[tokio::test]
async fn a_transaction_that_never_rings_can_be_prepared() {
    let probe = Probe::new().await;
    let name = probe.database.name();
    probe.run(&format!("BEGIN; {WRITE}")).await;
    let refusal = probe
        .refusal(&format!("PREPARE TRANSACTION '{name}'"))
        .await;
    assert_eq!(refusal.sqlstate, "0A000", "{}", refusal.message);

    let mut bell = Bell::new(&probe.database).await;
    let prepared = format!(
        "BEGIN; SET LOCAL bellwether.doorbell = 'never'; {WRITE}; PREPARE TRANSACTION '{name}'"
    );
    probe.run(&prepared).await;
    assert_eq!(probe.kinds().await, [""; 0]);
    probe.run(&format!("COMMIT PREPARED '{name}'")).await;
    assert_eq!(probe.kinds().await, ["operation.created"]);
    assert_eq!(bell.rings().await, 0);
}

#[tokio::test]
async fn a_notification_queue_that_is_half_full_is_left_to_others_and_the_write_succeeds() {
    let probe = Probe::new().await;
    let mut bell = Bell::new(&probe.database).await;
    // Filling the real queue takes gigabytes; in this database its fill level is what the test says.
    let level = async |level: &str| {
        probe
            .run(&format!(
                "CREATE OR REPLACE FUNCTION pg_catalog.pg_notification_queue_usage() RETURNS double precision LANGUAGE sql AS 'SELECT {level}::double precision'"
            ))
            .await;
    };
    probe.run("ALTER FUNCTION pg_catalog.pg_notification_queue_usage() RENAME TO real_notification_queue_usage").await;
    for (usage, rings) in [("0.49", 2), ("0.5", 0), ("1", 0), ("0", 2)] {
        level(usage).await;
        let writer = probe.another().await;
        writer.run(WRITE).await;
        writer.run("SELECT report_connection('a')").await;
        assert_eq!(bell.rings().await, rings, "at {usage}");
    }
    assert_eq!(probe.kinds().await.len(), 8);
}
