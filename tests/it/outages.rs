//! What dies and comes back: nothing is lost, and the screen says so.

use serde_json::Value;

use crate::support::relay::{Relay, text};
use crate::support::{PrivateServer, eventually};

fn created(frame: &Value) -> Vec<String> {
    let events = frame["events"].as_array().into_iter().flatten();
    events
        .map(|event| text(&event["data"]["operation_type"]))
        .collect()
}

#[tokio::test]
async fn a_killed_database_is_said_on_every_socket_and_nothing_is_missing_when_it_is_back() {
    let mut server = PrivateServer::migrated().await;
    let relay = Relay::start(&server.url(), &[]).await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    subscriber.frame("snapshot").await;
    let client = server.client().await;
    client
        .execute(
            "INSERT INTO sync_operations (operation_type) VALUES ('before')",
            &[],
        )
        .await
        .expect("inserted");
    let before = subscriber.frame("events").await;

    server.postgres.kill_hard().await;
    let frames = subscriber
        .frames_until(|frame| frame["status"] == "degraded")
        .await;
    assert!(frames.last().expect("one")["reason"].is_string());
    assert_eq!(relay.get("/readyz").await.status(), 503);
    assert_eq!(relay.get("/livez").await.status(), 200);
    let mut newcomer = relay.subscribe("topics=operations").await;
    assert_eq!(newcomer.frame("status").await["status"], "degraded");
    assert_eq!(
        newcomer.frame("snapshot").await["operations"]
            .as_array()
            .map(Vec::len),
        Some(1),
        "the last that is known"
    );

    server.postgres.restart().await.expect("restarted");
    let client = server.client().await;
    client
        .execute(
            "INSERT INTO sync_operations (operation_type) VALUES ('after')",
            &[],
        )
        .await
        .expect("inserted");
    let after = subscriber
        .frames_until(|frame| created(frame).contains(&"after".to_owned()))
        .await;
    let all: Vec<_> = [&before]
        .into_iter()
        .chain(&after)
        .flat_map(created)
        .collect();
    assert_eq!(all, ["before", "after"]);
    assert!(
        !after.iter().any(|frame| frame["type"] == "reset"),
        "the cursor is still good"
    );
    assert_eq!(relay.get("/readyz").await.status(), 200);
}

#[tokio::test]
async fn a_listening_session_that_was_terminated_is_replaced_and_nothing_is_missing() {
    let server = PrivateServer::migrated().await;
    let client = server.client().await;
    let relay = Relay::start(&server.url(), &[]).await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    subscriber.frame("snapshot").await;
    for name in ["bellwether listener", "bellwether reader"] {
        let kill =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
        eventually("there is a session to terminate", async || {
            client.execute(kill, &[&name]).await.expect("asked") == 1
        })
        .await;
        let insert = "INSERT INTO sync_operations (operation_type) VALUES ($1)";
        client.execute(insert, &[&name]).await.expect("inserted");
        let frames = subscriber
            .frames_until(|frame| created(frame).contains(&name.to_owned()))
            .await;
        assert_eq!(frames.iter().flat_map(created).collect::<Vec<_>>(), [name]);
    }
}

#[tokio::test]
async fn a_relay_that_starts_before_its_database_says_so_and_serves_once_it_is_there() {
    let mut server = PrivateServer::migrated().await;
    server.postgres.stop().await;
    let relay = Relay::start(&server.url(), &[]).await;
    let mut subscriber = relay.subscribe("topics=operations").await;
    assert_eq!(subscriber.frame("status").await["status"], "degraded");
    server.postgres.restart().await.expect("restarted");
    subscriber.frame("snapshot").await;
    subscriber.say("ping").await;
    subscriber.frame("pong").await;
}
