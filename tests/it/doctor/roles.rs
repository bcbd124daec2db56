//! Who may do what.

use uuid::Uuid;

use super::doctor;
use crate::support::{TestDatabase, chain};

/// A role that may log in and no more, besides what it is granted; dropped by hand at the end.
struct Role {
    name: String,
    url: String,
}

impl Role {
    async fn new(database: &TestDatabase, grants: &str) -> Self {
        let name = format!("role_{}", Uuid::new_v4().simple());
        execute(
            database,
            &format!(
                "CREATE ROLE {name} LOGIN PASSWORD 'secret'; {}",
                grants.replace("{role}", &name)
            ),
        )
        .await;
        let url = database.url();
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (_, server) = rest.split_once('@').expect("an account in the URL");
        Self {
            url: format!("{scheme}://{name}:secret@{server}"),
            name,
        }
    }

    async fn drop(self, database: &TestDatabase) {
        let name = self.name;
        execute(database, &format!("DROP OWNED BY {name}; DROP ROLE {name}")).await;
    }
}

async fn execute(database: &TestDatabase, statements: &str) {
    database
        .client()
        .await
        .batch_execute(statements)
        .await
        .unwrap_or_else(|error| panic!("{statements}: {}", chain(&error)));
}

#[tokio::test]
async fn a_role_without_rights_is_told_which_it_lacks_to_serve() {
    let database = TestDatabase::new().await;
    let role = Role::new(&database, "").await;
    let report = doctor(&role.url, &[]).await;
    assert_eq!(report.code, 1);
    assert_eq!(report.status("rights"), "failure");
    let lacking = report.check("rights")["figures"]["lacking"].to_string();
    for right in [
        "DELETE ON bellwether.event",
        "SELECT ON SEQUENCE bellwether.lease",
        "SELECT ON public.sync_operations",
    ] {
        assert!(lacking.contains(right), "{lacking}");
    }
    assert!(
        report.found("migrations").contains("permission denied"),
        "{}",
        report.found("migrations")
    );
    assert_eq!(
        report.status("triggers"),
        "ok",
        "the catalogue is open to all"
    );
    assert_eq!(
        report.check("writing_transactions")["figures"]["sees_all_sessions"],
        false
    );
    role.drop(&database).await;
}

#[tokio::test]
async fn a_role_that_writes_is_measured_by_what_applications_do() {
    let database = TestDatabase::new().await;
    let writer = Role::new(
        &database,
        "GRANT SELECT, INSERT, UPDATE ON sync_operations, sync_operation_errors, connection_status TO {role}",
    )
    .await;
    let reporter = Role::new(
        &database,
        "GRANT INSERT (operation_type), UPDATE (status), SELECT (id) ON sync_operations TO {role}",
    )
    .await;
    let reader = Role::new(&database, "GRANT SELECT ON sync_operations TO {role}").await;
    let intruder = Role::new(
        &database,
        "GRANT SELECT, INSERT, UPDATE ON sync_operations, sync_operation_errors, connection_status TO {role};
         GRANT INSERT ON bellwether.event TO {role}",
    )
    .await;
    for (role, status) in [
        (&writer, "ok"),
        (&reporter, "warning"),
        (&reader, "failure"),
        (&intruder, "warning"),
    ] {
        let report = doctor(&database.url(), &["--writer", &role.name]).await;
        let found = report.found("writer_rights");
        assert_eq!(report.status("writer_rights"), status, "{found}");
    }
    let report = doctor(&database.url(), &["--writer", &reader.name]).await;
    execute(&database, report.advice("writer_rights")[0]).await;
    let report = doctor(&database.url(), &["--writer", &reader.name]).await;
    assert_eq!(report.status("writer_rights"), "ok", "the advice mends it");
    let report = doctor(&database.url(), &["--writer", "nobody at all"]).await;
    assert_eq!(report.status("writer_rights"), "failure");
    for role in [writer, reporter, reader, intruder] {
        role.drop(&database).await;
    }
}

#[tokio::test]
async fn an_owner_of_the_triggers_that_may_not_write_the_log_is_found() {
    let database = TestDatabase::new().await;
    let role = Role::new(&database, "").await;
    execute(
        &database,
        &format!(
            "ALTER FUNCTION bellwether.capture_sync_operation() OWNER TO {}",
            role.name
        ),
    )
    .await;
    let report = doctor(&database.url(), &[]).await;
    assert_eq!(report.status("rights"), "failure");
    let found = report.found("rights");
    assert!(found.contains("no write can be recorded"), "{found}");
    execute(
        &database,
        "ALTER FUNCTION bellwether.capture_sync_operation() OWNER TO CURRENT_USER",
    )
    .await;
    role.drop(&database).await;
}

#[tokio::test]
async fn what_a_role_begins_its_sessions_with_is_taken_into_account() {
    let database = TestDatabase::new().await;
    let role = Role::new(
        &database,
        "ALTER ROLE {role} SET default_transaction_read_only = on;
         ALTER ROLE {role} SET statement_timeout = '2s';
         ALTER ROLE {role} SET session_replication_role = replica;
         ALTER ROLE {role} SET bellwether.doorbell = 'nevver'",
    )
    .await;
    let report = doctor(&role.url, &[]).await;
    assert_eq!(report.status("primary"), "failure");
    assert!(report.found("primary").contains("read only by default"));
    assert_eq!(report.status("session_settings"), "warning");
    assert!(
        report
            .found("session_settings")
            .contains("statement_timeout 2000 ms")
    );
    assert!(
        report
            .found("doorbell_mode")
            .contains("\"nevver\" is no mode")
    );
    assert!(
        report
            .found("triggers")
            .contains("session_replication_role")
    );
    role.drop(&database).await;
}
