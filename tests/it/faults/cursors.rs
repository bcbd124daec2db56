//! Cursors that mean nothing here, or nothing any more: each is refused in words, and a snapshot follows.

use bellwether::cursor::{Cursor, Epoch, Snapshot, Within};
use serde_json::json;

use super::relay_process::RelayProcess;
use crate::support::relay::Subscriber;
use crate::support::{PrivateServer, TestDatabase, eventually};

const INSERT: &str = "INSERT INTO sync_operations (operation_type) VALUES ('x')";

/// A cursor that a client of this relay has.
async fn cursor(relay: &RelayProcess) -> String {
    let mut subscriber = Subscriber::connect(relay.address, "mode=every").await;
    subscriber.frame("snapshot").await;
    subscriber.cursor.expect("a cursor")
}

/// What a relay answers to a cursor: the reason of its reset, if it resets; a snapshot has come then.
async fn answer(relay: &RelayProcess, mode: &str, since: &str) -> Option<String> {
    // By message, since a long one does not fit into a request line.
    let mut subscriber = Subscriber::connect(relay.address, "topics=none").await;
    subscriber
        .say(&json!({"type": "subscribe", "id": "s", "mode": mode, "since": since}).to_string())
        .await;
    let frames = subscriber
        .frames_until(|frame| frame["type"] == "heartbeat")
        .await;
    let has = |kind: &str| frames.iter().find(|frame| frame["type"] == kind);
    let reset = has("reset")?;
    assert!(has("snapshot").is_some(), "a snapshot follows: {frames:?}");
    Some(reset["reason"].as_str().expect("a reason").to_owned())
}

#[tokio::test]
async fn a_cursor_of_another_database_of_the_same_cluster_is_refused() {
    let databases = [TestDatabase::new().await, TestDatabase::new().await];
    let here = RelayProcess::start(&databases[0].url(), &[]).await;
    let there = RelayProcess::start(&databases[1].url(), &[]).await;
    let foreign = cursor(&there).await;
    for mode in ["every", "latest"] {
        let reason = answer(&here, mode, &foreign).await;
        assert_eq!(reason.as_deref(), Some("cursor_foreign"));
    }
    assert_eq!(answer(&there, "every", &foreign).await, None);
}

#[tokio::test]
async fn a_forged_or_oversize_cursor_is_refused_and_costs_no_look_at_the_log() {
    let server = PrivateServer::counting_statements().await;
    let client = server.client().await;
    // Nothing else is there to be looked for.
    let arguments = "--tick 1h --ring-bytes 1000 --presence-every 1d --snapshot-every 1d";
    let arguments: Vec<_> = arguments.split(' ').collect();
    let relay = RelayProcess::start(&server.url(), &arguments).await;
    let genuine = cursor(&relay).await;
    let mut witness = Subscriber::connect(relay.address, "topics=operations").await;
    witness.live().await;
    client.batch_execute(INSERT).await.expect("inserted");
    witness.frame("events").await;
    let epoch = Cursor::decode(&genuine).expect("a cursor").epoch;
    let forge = |epoch, seen: &str, within: Option<&str>| {
        let parse = |text| Snapshot::parse(text).expect("a snapshot");
        let within = within.map(|to| Within {
            to: parse(to),
            last_id: i64::MAX,
        });
        Cursor {
            epoch,
            seen: parse(seen),
            within,
        }
        .encode()
    };
    let many = (1..9_000)
        .map(|xid| xid.to_string())
        .collect::<Vec<_>>()
        .join(",");
    let looks = async || -> i64 {
        let looks = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
            WHERE toplevel AND query LIKE '%FROM bellwether.event %'";
        client.query_one(looks, &[]).await.expect("counted").get(0)
    };
    let refused = [
        (format!("{genuine}AAAA"), "cursor_invalid"),
        (genuine[..genuine.len() / 2].to_owned(), "cursor_invalid"),
        ("A".repeat(60_000), "cursor_invalid"),
        (
            forge(epoch, &format!("1:10000:{many}"), None),
            "cursor_invalid",
        ),
        (forge(Epoch(epoch.0 ^ 1), "5:5:", None), "cursor_foreign"),
    ];
    // Tried again where the relay had a reason of its own to look meanwhile.
    eventually("nobody looks for a forged cursor", async || {
        let before = looks().await;
        for (forged, expected) in &refused {
            let reason = answer(&relay, "every", forged).await;
            assert_eq!(reason.as_deref(), Some(*expected), "{forged:.80}");
        }
        looks().await == before
    })
    .await;
    // One that could be ours, from far ahead: looked for, but not for long.
    let ahead = forge(
        epoch,
        "4000000000:4000000000:",
        Some("4000000001:4000000001:"),
    );
    let before = looks().await;
    let reason = answer(&relay, "every", &ahead).await;
    assert_eq!(reason.as_deref(), Some("cursor_ahead"));
    assert!(looks().await > before, "what is looked for is counted");
}

#[tokio::test]
async fn a_client_whose_cursor_the_log_was_trimmed_past_is_reset_also_by_a_relay_that_has_just_started()
 {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let arguments = ["--ring-bytes", "1000"];
    let mut relay = RelayProcess::start(&database.url(), &arguments).await;
    let old = cursor(&relay).await;
    // A relay that has not read them yet could still go on from the old cursor.
    let mut witness =
        Subscriber::connect(relay.address, "topics=operations&operation_type=last").await;
    witness.frame("snapshot").await;
    for _ in 0..20 {
        client.batch_execute(INSERT).await.expect("inserted");
    }
    let last = INSERT.replace("'x'", "'last'");
    client.batch_execute(&last).await.expect("inserted");
    witness.frame("events").await;
    let trim =
        "UPDATE bellwether.log SET trimmed_through = (SELECT max(xid) FROM bellwether.event);
                DELETE FROM bellwether.event";
    client.batch_execute(trim).await.expect("trimmed");
    for expected in [
        ["log_trimmed", "cursor_expired"],
        ["log_trimmed", "cursor_expired"],
    ] {
        for (mode, expected) in ["every", "latest"].into_iter().zip(expected) {
            let reason = answer(&relay, mode, &old).await;
            assert_eq!(reason.as_deref(), Some(expected), "{mode}");
        }
        relay.kill();
        relay.start_again();
        relay.until("live").await;
    }
}

#[tokio::test]
async fn a_client_that_slept_while_everything_moved_on_is_resumed_or_reset_but_never_left_in_silence()
 {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let arguments = ["--subscriber-bytes", "20000", "--ring-bytes", "20000"];
    let relay = RelayProcess::start(&database.url(), &arguments).await;
    let mut asleep = Vec::new();
    for mode in ["every", "latest"] {
        let mut subscriber =
            Subscriber::connect(relay.address, &format!("topics=operations&mode={mode}")).await;
        subscriber.frame("snapshot").await;
        asleep.push((mode, subscriber));
    }
    let mut witness =
        Subscriber::connect(relay.address, "topics=operations&operation_type=the%20last").await;
    witness.frame("snapshot").await;
    // Far more than the socket, the outbox and the ring hold, while nobody reads.
    for _ in 0..40 {
        client
            .batch_execute("INSERT INTO sync_operations (operation_type, message) SELECT 'x', repeat('x', 4000) FROM generate_series(1, 100)")
            .await
            .expect("inserted");
    }
    client
        .batch_execute("INSERT INTO sync_operations (operation_type) VALUES ('the last')")
        .await
        .expect("inserted");
    witness.frame("events").await;
    for (mode, mut subscriber) in asleep {
        // It wakes, reads what is there, and is told how things stand.
        let told =
            |frame: &serde_json::Value| frame["type"] == "reset" || frame["type"] == "closing";
        let frames = subscriber.frames_until(told).await;
        let expected = if mode == "every" { "closing" } else { "reset" };
        assert_eq!(frames.last().expect("one")["type"], expected);
        if mode == "latest" {
            subscriber.frame("snapshot").await;
        }
        // Or it finds its socket gone, and comes back with its cursor.
        let cursor = subscriber.cursor.clone().expect("a cursor");
        drop(subscriber);
        let mut back = Subscriber::connect(
            relay.address,
            &format!("topics=operations&mode={mode}&since={cursor}"),
        )
        .await;
        let frames = back
            .frames_until(|frame| frame["type"] == "heartbeat")
            .await;
        assert!(
            frames.iter().any(|frame| frame["type"] == "subscribed"),
            "{frames:?}"
        );
    }
}
