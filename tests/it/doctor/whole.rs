//! A path on which all is well, and one that is not there.

use bellwether::postgres::EmbeddedOptions;

use super::{doctor, run};
use crate::support::relay::Relay;
use crate::support::{PrivateServer, TestDatabase, eventually};

/// As a careful DBA runs it.
fn careful() -> EmbeddedOptions {
    EmbeddedOptions::default().setting("max_connections", "60")
}

#[tokio::test]
async fn a_healthy_path_passes_every_check_strictly_and_leaves_no_row_behind() {
    let server = PrivateServer::start_with(careful()).await;
    let relay = Relay::start(&server.url(), &[]).await;
    let client = server.client().await;
    eventually("the relay is ready and says that it lives", async || {
        let alive = "SELECT count(*) FROM bellwether.relay";
        let alive = client.query_one(alive, &[]).await;
        alive.is_ok_and(|row| row.get::<_, i64>(0) == 1)
            && relay.get("/readyz").await.status() == 200
    })
    .await;

    let url = format!("http://{}", relay.address);
    let report = doctor(&server.url(), &["--strict", "--relay-url", &url, "--write"]).await;
    assert_eq!(report.troubles(), []);
    assert_eq!(report.code, 0);
    assert_eq!(report.document["format"], 1);
    assert_eq!(report.document["status"], "ok");
    assert_eq!(report.document["connected"], true);
    assert_eq!(report.document["counts"]["skipped"], 0);
    for (check, figure) in [
        ("doorbell", "round_trip_ms"),
        ("relay_write", "write_to_frame_ms"),
        ("clock", "doubt_ms"),
    ] {
        let figure = &report.check(check)["figures"][figure];
        assert!(figure.as_f64().is_some_and(|ms| ms >= 0.0), "{figure}");
    }
    assert_eq!(report.check("relays")["figures"]["alive"], 1);
    assert!(
        !report.document.to_string().contains("password"),
        "no secret"
    );

    let left = "SELECT count(*) FROM sync_operations";
    let left: i64 = client.query_one(left, &[]).await.expect("a count").get(0);
    assert_eq!(left, 0);
    relay.stop().await;
}

#[tokio::test]
async fn without_write_nothing_is_written_and_running_relays_are_not_woken() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let events = async || -> i64 {
        let count = "SELECT count(*) FROM bellwether.event";
        client.query_one(count, &[]).await.expect("a count").get(0)
    };
    let before = events().await;
    let report = doctor(&database.url(), &[]).await;
    assert_eq!(
        report.status("doorbell"),
        "ok",
        "{}",
        report.found("doorbell")
    );
    assert_eq!(report.status("relays"), "warning", "none runs");
    assert_eq!(report.code, 0, "warnings are allowed: {}", report.document);
    assert_eq!(events().await, before);
}

#[tokio::test]
async fn a_warning_fails_where_that_is_asked_for() {
    let database = TestDatabase::new().await;
    assert_eq!(doctor(&database.url(), &["--strict"]).await.code, 1);
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_has_a_status_of_its_own_and_a_document_too() {
    let report = doctor("postgres://somebody:secret@127.0.0.1:1/app", &[]).await;
    assert_eq!(report.code, 2);
    assert_eq!(report.document["connected"], false);
    assert_eq!(report.status("connection"), "failure");
    assert!(report.found("connection").contains("127.0.0.1:1/app"));
    assert!(!report.document.to_string().contains("secret"));
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_has_the_status_of_a_mistake_in_usage() {
    let url = "postgres://127.0.0.1:1/app";
    for arguments in [
        &["--write"][..],
        &["--relay-url", "ftp://host"],
        &["--timeout", "0s"],
        &["--unheard-of"],
    ] {
        let (code, text) = run(url, arguments).await;
        assert_eq!((code, text.as_str()), (2, ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn people_get_a_line_a_check_without_colours_unless_it_is_a_terminal() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    client
        .batch_execute("DROP INDEX bellwether.event_is_found_by_transaction")
        .await
        .expect("dropped");
    let (_, text) = run(&database.url(), &[]).await;
    assert!(!text.contains('\x1b'), "{text}");
    let line = text
        .lines()
        .position(|line| line.starts_with("warning  tables"));
    let line = line.unwrap_or_else(|| panic!("no such line in {text}"));
    let advice = text.lines().nth(line + 1).expect("another line");
    assert!(advice.trim_start().starts_with("→ create"), "{advice}");
}

#[tokio::test]
async fn a_relay_that_is_not_there_or_is_no_relay_is_a_failure() {
    let database = TestDatabase::new().await;
    let report = doctor(&database.url(), &["--relay-url", "http://127.0.0.1:1"]).await;
    assert_eq!(report.status("relay"), "failure");
    assert!(report.advice("relay")[0].contains("serve"));
    assert_eq!(report.code, 1);
}
