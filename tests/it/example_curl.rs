//! The subscriber in `examples/curl-sse`, run as its README says.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{ChildStdout, Command},
    time::timeout,
};
use tokio_postgres::Client;

use crate::example_tools::example;
use crate::support::relay::Relay;
use crate::support::{PATIENCE, TestDatabase};

async fn insert(client: &Client, kind: &str) {
    client
        .execute("SELECT create_sync_operation($1)", &[&kind])
        .await
        .expect("an operation");
}

/// The types of the operations that the next line tells of.
async fn told(lines: &mut Lines<BufReader<ChildStdout>>) -> Vec<String> {
    let line = timeout(PATIENCE, lines.next_line()).await;
    let line = line
        .expect("a line in time")
        .expect("output")
        .expect("more");
    let frame: Value = serde_json::from_str(&line).expect("JSON");
    let events = frame["events"].as_array().expect("events").iter();
    events
        .map(|event| {
            event["data"]["operation_type"]
                .as_str()
                .expect("a type")
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn curl_follows_a_relay_that_is_killed_and_misses_nothing() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let address = relay.address;
    let mut beginning = relay.subscribe("topics=operations&snapshot=false").await;
    let cursor = beginning.frame("subscribed").await["cursor"].clone();
    let cursor = cursor.as_str().expect("a cursor");

    let mut follow = Command::new(example("curl-sse").join("follow.sh"))
        .arg(format!(
            "http://{address}/events?topics=operations&since={cursor}"
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .expect("bash and curl");
    let mut lines = BufReader::new(follow.stdout.take().expect("piped")).lines();

    insert(&client, "before").await;
    assert_eq!(told(&mut lines).await, ["before"]);

    relay.kill();
    insert(&client, "meanwhile").await;
    let relay = Relay::start_at(address, &database.url(), &[]);
    assert_eq!(told(&mut lines).await, ["meanwhile"]);
    insert(&client, "after").await;
    assert_eq!(told(&mut lines).await, ["after"]);

    follow.kill().await.expect("killed");
    // Only curl is left of it, and ends with its stream.
    relay.kill();
}
