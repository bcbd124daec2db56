//! `bellwether tail` against a real relay, as a script runs it.

use std::process::{Output, Stdio};

use tokio::process::Command;
use tokio::time::timeout;

use crate::support::relay::Relay;
use crate::support::{PATIENCE, TestDatabase};

/// Waits for an operation's end, as a script does.
async fn until_done(relay: &Relay, id: &str) -> Output {
    let mut tail = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    tail.args(["tail", "--until-done", "--json", "--operation-id", id])
        .args(["--url", &format!("http://{}", relay.address)])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    timeout(PATIENCE, tail.output())
        .await
        .expect("it ends by itself")
        .expect("it runs")
}

/// The relay's memory holds one ended operation, so that the others are only to be had from the read API.
#[tokio::test]
async fn an_operation_that_ended_long_ago_is_looked_up() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    client
        .batch_execute(
            "INSERT INTO sync_operations (id, operation_type, status, error) VALUES
                 ('00000000-0000-0000-0000-000000000001', 'upload', 'completed', NULL),
                 ('00000000-0000-0000-0000-000000000002', 'upload', 'failed', 'no space');
             SELECT record_sync_error('00000000-0000-0000-0000-000000000002', 'denied');
             INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'completed')",
        )
        .await
        .expect("written");
    let relay = Relay::start(&database.url(), &["--mirror-recent", "1"]).await;
    for (number, is_good) in [(1, true), (2, false)] {
        let id = format!("00000000-0000-0000-0000-00000000000{number}");
        let output = until_done(&relay, &id).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), is_good, "{id}: {said}");
    }
    relay.stop().await;
}
