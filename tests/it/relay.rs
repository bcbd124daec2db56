//! Rows in, frames out: the relay as its subscribers meet it. The safety tick is an hour unless a test says otherwise.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::relay::{Relay, Screen, Subscriber, text};
use crate::support::{PrivateServer, TestDatabase, eventually};

async fn insert(client: &Client, kind: &str) -> String {
    let row = client
        .query_one("SELECT create_sync_operation($1)::text", &[&kind])
        .await
        .expect("an operation");
    row.get(0)
}

fn is(kind: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["type"] == kind
}

#[tokio::test]
async fn a_row_written_by_sql_reaches_a_live_subscriber_through_the_doorbell_alone() {
    let database = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    let hello = subscriber.frame("hello").await;
    assert_eq!(hello["protocol"], 1);
    subscriber.frame("snapshot").await;

    let client = database.client().await;
    let id = insert(&client, "upload").await;
    client
        .execute(
            "UPDATE sync_operations SET total_items = 4, processed_items = 1",
            &[],
        )
        .await
        .expect("updated");
    client
        .execute("UPDATE sync_operations SET status = 'completed'", &[])
        .await
        .expect("updated");

    let events = subscriber.events_until(is("operation.completed")).await;
    let kinds: Vec<_> = events.iter().map(|event| text(&event["type"])).collect();
    assert_eq!(
        kinds,
        [
            "operation.created",
            "operation.progress",
            "operation.completed"
        ]
    );
    assert!(events.iter().all(|event| event["entity"] == id.as_str()));
    assert_eq!(events[1]["data"]["progress"], json!(25.0));
    let revisions: Vec<_> = events
        .iter()
        .map(|event| event["revision"].as_i64().expect("a number"))
        .collect();
    assert!(revisions.is_sorted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_snapshot_and_the_stream_that_follows_fit_exactly_at_any_write_rate() {
    const WRITERS: usize = 4;
    const UPDATES: i64 = 300;
    let database = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let client = database.client().await;
        let id = insert(&client, "busy").await;
        writers.push(tokio::spawn(async move {
            for count in 1..=UPDATES {
                client
                    .execute(
                        "UPDATE sync_operations SET processed_items = $2 WHERE id = $1::text::uuid",
                        &[&id, &count],
                    )
                    .await
                    .expect("updated");
            }
        }));
    }
    let watch = |mut subscriber: Subscriber| async move {
        let mut screen = Screen::default();
        let mut held: std::collections::BTreeMap<String, i64> = std::collections::BTreeMap::new();
        loop {
            let frame = subscriber.next().await.expect("open");
            screen.apply(&frame);
            for row in frame["operations"].as_array().into_iter().flatten() {
                held.insert(
                    text(&row["id"]),
                    row["revision"].as_i64().expect("a number"),
                );
            }
            for event in frame["events"].as_array().into_iter().flatten() {
                let (entity, revision) = (
                    text(&event["entity"]),
                    event["revision"].as_i64().expect("a number"),
                );
                if let Some(before) = held.insert(entity, revision) {
                    assert_eq!(revision, before + 1, "nothing missing, nothing twice");
                }
            }
            let done = |row: &Value| row["processed_items"] == UPDATES;
            if screen.operations.len() == WRITERS && screen.operations.values().all(done) {
                return;
            }
        }
    };
    let mut watchers = Vec::new();
    for _ in 0..12 {
        watchers.push(tokio::spawn(watch(
            relay.subscribe("topics=operations&mode=every").await,
        )));
        tokio::task::yield_now().await;
    }
    for task in writers.into_iter().chain(watchers) {
        task.await.expect("nothing missing, nothing twice");
    }
}

#[tokio::test]
async fn a_subscriber_that_was_away_resumes_with_exactly_what_it_missed() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    subscriber.frame("snapshot").await;
    insert(&client, "one").await;
    subscriber.events_until(is("operation.created")).await;
    let cursor = subscriber.cursor.clone().expect("events carry a cursor");
    drop(subscriber);

    let missed = [insert(&client, "two").await, insert(&client, "three").await];
    let mut back = relay
        .subscribe(&format!("mode=every&topics=operations&since={cursor}"))
        .await;
    let events = back
        .events_until(|event| event["entity"] == missed[1].as_str())
        .await;
    let entities: Vec<_> = events.iter().map(|event| text(&event["entity"])).collect();
    assert_eq!(entities, missed);

    let sse = relay
        .events_until(
            "mode=every&topics=operations&since=ignored",
            Some(&cursor),
            |events| events.iter().any(|event| event.kind == "events"),
        )
        .await;
    let events = sse
        .iter()
        .find(|event| event.kind == "events")
        .expect("events");
    assert_eq!(
        events.data["events"].as_array().expect("an array").len(),
        2,
        "the header wins: {sse:?}"
    );
    assert_eq!(events.id.as_deref(), events.data["cursor"].as_str());
    assert!(!sse.iter().any(|event| event.kind == "snapshot"));
}

#[tokio::test]
async fn a_relay_that_was_restarted_serves_cursors_of_its_former_life() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay.subscribe("topics=operations").await;
    subscriber.frame("snapshot").await;
    insert(&client, "one").await;
    subscriber.events_until(is("operation.created")).await;
    let cursor = subscriber.cursor.clone().expect("a cursor");
    relay.kill();
    let missed = insert(&client, "two").await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut back = relay
        .subscribe(&format!("topics=operations&since={cursor}"))
        .await;
    let frames = back.frames_until(|frame| frame["type"] == "events").await;
    assert!(
        !frames
            .iter()
            .any(|frame| frame["type"] == "reset" || frame["type"] == "snapshot"),
        "{frames:?}"
    );
    assert_eq!(
        frames.last().expect("one")["events"][0]["entity"],
        missed.as_str()
    );
}

#[tokio::test]
async fn a_filtered_list_is_told_when_a_row_leaves_it() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay
        .subscribe("topics=operations&status=in_progress&owner=alice")
        .await;
    subscriber.frame("snapshot").await;
    client
        .batch_execute(
            "INSERT INTO sync_operations (operation_type, owner) VALUES ('a', 'alice'), ('b', 'bob');
             UPDATE sync_operations SET status = 'in_progress';
             UPDATE sync_operations SET owner = 'carol' WHERE owner = 'alice';
             UPDATE sync_operations SET owner = 'alice' WHERE owner = 'carol';
             UPDATE sync_operations SET status = 'completed';
             INSERT INTO sync_operations (operation_type, owner, status) VALUES ('end', 'alice', 'in_progress')",
        )
        .await
        .expect("written");
    let events = subscriber.events_until(is("operation.created")).await;
    let told: Vec<_> = events
        .iter()
        .map(|event| (text(&event["type"]), event["left"] == true))
        .collect();
    let told: Vec<_> = told
        .iter()
        .map(|(kind, left)| (kind.as_str(), *left))
        .collect();
    assert_eq!(
        told,
        [
            ("operation.started", false),
            ("operation.progress", true),
            ("operation.progress", false),
            ("operation.completed", true),
            ("operation.created", false),
        ]
    );
}

#[tokio::test]
async fn a_row_that_had_no_owner_does_not_leave_the_one_who_gets_it_as_it_ends() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut of_alice = relay
        .subscribe("topics=operations&status=in_progress&owner=alice")
        .await;
    let mut of_carol = relay
        .subscribe("topics=operations&owner=carol&source=here")
        .await;
    of_alice.live().await;
    of_carol.live().await;
    client
        .batch_execute(
            "INSERT INTO sync_operations (operation_type, status) VALUES ('a', 'in_progress');
             UPDATE sync_operations SET owner = 'alice', status = 'completed';
             UPDATE sync_operations SET owner = 'carol';
             UPDATE sync_operations SET owner = 'dave', source = 'here';
             UPDATE sync_operations SET owner = NULL, source = NULL;
             INSERT INTO sync_operations (operation_type, owner, source, status)
                 VALUES ('end', 'alice', 'there', 'in_progress'), ('end', 'carol', 'here', 'in_progress')",
        )
        .await
        .expect("written");
    for subscriber in [&mut of_alice, &mut of_carol] {
        let events = subscriber.events_until(is("operation.created")).await;
        assert_eq!(
            events.len(),
            1,
            "neither ever had the other one: {events:?}"
        );
    }
    relay.stop().await;
}

#[tokio::test]
async fn commits_that_land_out_of_order_are_all_delivered_and_a_long_transaction_delays_nobody() {
    let database = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    subscriber.frame("snapshot").await;
    let (slow, quick) = (database.client().await, database.client().await);
    slow.batch_execute("BEGIN").await.expect("begun");
    let early = insert(&slow, "handed out first").await;
    let late = insert(&quick, "committed first").await;
    let events = subscriber.events_until(is("operation.created")).await;
    assert_eq!(
        events[0]["entity"],
        late.as_str(),
        "the open transaction delays nobody"
    );
    slow.batch_execute("COMMIT").await.expect("committed");
    let more = subscriber.events_until(is("operation.created")).await;
    assert_eq!(more[0]["entity"], early.as_str());
    assert!(
        more[0]["id"].as_i64() < events[0]["id"].as_i64(),
        "its id is the lower one"
    );
}

#[tokio::test]
async fn subscriptions_come_and_go_on_a_live_socket() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay.subscribe("topics=none").await;
    subscriber.live().await;
    subscriber
        .say(r#"{"type":"subscribe","id":"a","topics":["operations"],"operation_type":["x"]}"#)
        .await;
    assert_eq!(subscriber.frame("subscribed").await["sub"], "a");
    subscriber.frame("snapshot").await;
    subscriber
        .say(r#"{"type":"subscribe","id":"b","topics":["operations"],"snapshot":false}"#)
        .await;
    assert_eq!(subscriber.frame("subscribed").await["sub"], "b");
    insert(&client, "x").await;
    let mut subs = [
        text(&subscriber.frame("events").await["sub"]),
        text(&subscriber.frame("events").await["sub"]),
    ];
    subs.sort();
    assert_eq!(subs, ["a", "b"]);
    subscriber.say(r#"{"type":"unsubscribe","id":"b"}"#).await;
    subscriber.frame("unsubscribed").await;
    insert(&client, "y").await;
    let last = insert(&client, "x").await;
    let events = subscriber.frame("events").await;
    assert_eq!(
        (&events["sub"], &events["events"][0]["entity"]),
        (&json!("a"), &json!(last))
    );

    subscriber.say("ping").await;
    subscriber.frame("pong").await;
    subscriber.say(r#"{"type":"unsubscribe","id":"b"}"#).await;
    assert_eq!(
        subscriber.frame("error").await["code"],
        "unknown_subscription"
    );
    subscriber
        .say(r#"{"type":"subscribe","id":"c","status":["running"]}"#)
        .await;
    let error = subscriber.frame("error").await;
    assert!(
        text(&error["message"]).starts_with("status: expected pending"),
        "{error}"
    );
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_refused_by_name() {
    let database = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay.subscribe("colour=red").await;
    let error = subscriber.frame("error").await;
    assert!(text(&error["message"]).contains("\"colour\""), "{error}");
    let closing = subscriber.frame("closing").await;
    assert_eq!(closing["code"], 4000);
    assert!(
        closing.get("retry_after_ms").is_none(),
        "coming back is of no use"
    );
    assert!(subscriber.next().await.is_none());
    assert_eq!(subscriber.closed.map(|(code, _)| code), Some(4000));
    assert_eq!(relay.get("/events?mode=fast").await.status(), 400);
}

#[tokio::test]
async fn a_cursor_that_cannot_be_resumed_is_said_so_and_a_snapshot_follows() {
    let database = TestDatabase::new().await;
    let other = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let elsewhere = Relay::start(&other.url(), &[]).await;
    let mut foreign = elsewhere.subscribe("").await;
    foreign.frame("snapshot").await;
    let foreign = foreign.cursor.expect("a cursor");
    for (cursor, reason) in [
        ("nonsense", "cursor_invalid"),
        (&foreign, "cursor_foreign"),
        (&"A".repeat(60_000), "cursor_invalid"),
    ] {
        if cursor.len() > 10_000 {
            // Longer than a request line may be; a client can still send it in a message.
            let mut subscriber = relay.subscribe("topics=none").await;
            subscriber
                .say(&json!({"type": "subscribe", "id": "s", "since": cursor}).to_string())
                .await;
            assert_eq!(subscriber.frame("reset").await["reason"], reason);
            continue;
        }
        let mut subscriber = relay.subscribe(&format!("since={cursor}")).await;
        assert_eq!(subscriber.frame("reset").await["reason"], reason);
        subscriber.frame("snapshot").await;
    }
}

#[tokio::test]
async fn a_cursor_from_another_relay_that_is_ahead_is_waited_for() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    // Where nobody rings, one of them looks by the clock and the other one not before it is asked to.
    let quiet = ["--presence-every", "1d", "--heartbeat", "300ms"];
    let ahead = Relay::start(&database.url(), &[&quiet[..], &["--tick", "50ms"]].concat()).await;
    let behind = Relay::start(&database.url(), &quiet).await;
    let query = "mode=every&topics=operations";
    let mut first = ahead.subscribe(query).await;
    first.live().await;
    let mut witness = behind.subscribe(query).await;
    witness.live().await;
    client
        .batch_execute("SET bellwether.doorbell = 'never'")
        .await
        .expect("set");
    // Again where the ring was heard that each relay gives as it starts.
    eventually("one relay is ahead of the other", async || {
        insert(&client, "unheard").await;
        first.events_until(is("operation.created")).await;
        witness.say(r#"{"type":"ping"}"#).await;
        let frames = witness.frames_until(|frame| frame["type"] == "pong");
        frames.await.iter().all(|frame| frame["type"] != "events")
    })
    .await;
    let cursor = first.cursor.clone().expect("a cursor");
    let mut moved = behind.subscribe(&format!("{query}&since={cursor}")).await;
    moved.live().await;
    let asked_to_look = witness.events_until(is("operation.created")).await;
    assert_eq!(asked_to_look.len(), 1, "what it was behind with");
    let next = insert(&database.client().await, "heard").await;
    let frames = moved.frames_until(|frame| frame["type"] == "events").await;
    let is_new = |frame: &Value| frame["type"] == "reset" || frame["type"] == "snapshot";
    assert!(!frames.iter().any(is_new), "it is resumed: {frames:?}");
    let told = frames.last().expect("one")["events"].as_array();
    let entities: Vec<_> = told
        .into_iter()
        .flatten()
        .map(|event| text(&event["entity"]))
        .collect();
    assert_eq!(entities, [next], "not again what it has");
}

#[tokio::test]
async fn every_event_is_read_from_the_log_where_memory_does_not_reach_back() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(&database.url(), &["--ring-bytes", "20000"]).await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    subscriber.frame("snapshot").await;
    let cursor = subscriber.cursor.clone().expect("a cursor");
    drop(subscriber);
    client
        .batch_execute("INSERT INTO sync_operations (operation_type) SELECT n::text FROM generate_series(1, 500) n")
        .await
        .expect("inserted");
    let mut watcher = relay.subscribe("topics=operations&snapshot=false").await;
    watcher.frame("subscribed").await;
    let last = insert(&client, "last").await;
    watcher
        .events_until(|event| event["entity"] == last.as_str())
        .await;

    let mut every = relay
        .subscribe(&format!("mode=every&topics=operations&since={cursor}"))
        .await;
    let events = every
        .events_until(|event| event["entity"] == last.as_str())
        .await;
    assert_eq!(events.len(), 501);
    let mut latest = relay
        .subscribe(&format!("topics=operations&since={cursor}"))
        .await;
    assert_eq!(latest.frame("reset").await["reason"], "cursor_expired");
    latest.frame("snapshot").await;

    // Not beyond what is open anywhere in the cluster, other tests' transactions included.
    let left = "SELECT count(*) FROM bellwether.event";
    eventually("the log is trimmed", async || {
        client
            .batch_execute("SELECT bellwether.trim_log('0')")
            .await
            .expect("trimmed");
        client
            .query_one(left, &[])
            .await
            .expect("counted")
            .get::<_, i64>(0)
            == 0
    })
    .await;
    let mut late = relay
        .subscribe(&format!("mode=every&topics=operations&since={cursor}"))
        .await;
    assert_eq!(late.frame("reset").await["reason"], "log_trimmed");
    late.frame("snapshot").await;
}

#[tokio::test]
async fn a_log_that_is_trimmed_past_the_relay_itself_resets_everyone_and_goes_on() {
    // Not the shared one: an older transaction that is open anywhere in the cluster would make it look trimmed again.
    let database = PrivateServer::migrated().await;
    let client = database.client().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay.subscribe("topics=operations").await;
    subscriber.frame("snapshot").await;
    // Much that is owed, unheard, and declared trimmed before anybody has looked.
    client
        .batch_execute(
            "SET bellwether.doorbell = 'never';
             INSERT INTO sync_operations (operation_type) SELECT n::text FROM generate_series(1, 3000) n;
             UPDATE bellwether.log SET trimmed_through = pg_current_xact_id();
             SET bellwether.doorbell = 'always'",
        )
        .await
        .expect("written");
    insert(&client, "after").await;
    assert_eq!(subscriber.frame("reset").await["reason"], "log_trimmed");
    subscriber.frame("snapshot").await;
    let next = insert(&client, "next").await;
    subscriber
        .events_until(|event| event["entity"] == next.as_str())
        .await;
}

#[tokio::test]
async fn one_statement_on_many_rows_arrives_whole_in_bounded_frames() {
    const ROWS: i64 = 5_000;
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(&database.url(), &["--subscriber-bytes", "100000000"]).await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    subscriber.frame("snapshot").await;
    client
        .execute("INSERT INTO sync_operations (operation_type) SELECT n::text FROM generate_series(1, $1::bigint) n", &[&ROWS])
        .await
        .expect("inserted");
    let mut seen = std::collections::BTreeSet::new();
    let mut pieces = Vec::new();
    while seen.len() < 5_000 {
        let frame = subscriber.frame("events").await;
        assert!(frame.to_string().len() < 1_000_000);
        for event in frame["events"].as_array().expect("an array") {
            assert!(seen.insert(text(&event["entity"])), "nothing twice");
        }
        pieces.push((subscriber.cursor.clone().expect("a cursor"), seen.len()));
    }
    assert!(pieces.len() > 2);
    for (cursor, had) in [&pieces[0], &pieces[pieces.len() / 2]] {
        let mut back = relay
            .subscribe(&format!("mode=every&topics=operations&since={cursor}"))
            .await;
        let mut rest = 0;
        while rest < 5_000 - had {
            rest += back.frame("events").await["events"]
                .as_array()
                .expect("an array")
                .len();
        }
        assert_eq!(
            rest,
            5_000 - had,
            "cut off inside an interval, it goes on where it was"
        );
    }
}

#[tokio::test]
async fn without_any_bell_events_come_with_the_safety_tick() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    client
        .batch_execute("SET bellwether.doorbell = 'never'")
        .await
        .expect("set");
    let relay = Relay::start(&database.url(), &["--tick", "50ms"]).await;
    let mut subscriber = relay.subscribe("topics=operations").await;
    subscriber.frame("snapshot").await;
    insert(&client, "silent").await;
    subscriber.events_until(is("operation.created")).await;
}

#[tokio::test]
async fn a_row_of_the_log_that_cannot_be_read_keeps_no_other_from_anybody() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    subscriber.frame("snapshot").await;
    client
        .batch_execute(
            "BEGIN;
             INSERT INTO sync_operations (operation_type) VALUES ('spoilt');
             UPDATE bellwether.event SET at = 'infinity';
             INSERT INTO sync_operations (operation_type) VALUES ('sound');
             COMMIT",
        )
        .await
        .expect("written");
    let events = subscriber.events_until(|_| true).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["data"]["operation_type"], "sound");
    relay.stop().await;
}

#[tokio::test]
async fn heartbeats_on_a_quiet_stream_say_up_to_when_it_is_complete() {
    let database = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &["--tick", "20ms", "--heartbeat", "50ms"]).await;
    let mut subscriber = relay.subscribe("topics=errors").await;
    let first = subscriber.frame("heartbeat").await;
    let later = |frame: &Value| {
        frame["type"] == "heartbeat"
            && frame["complete_as_of"].as_str() > first["complete_as_of"].as_str()
    };
    let frames = subscriber.frames_until(later).await;
    let second = frames.last().expect("the later one");
    assert_eq!(second["sub"], "default");
    assert!(second["cursor"].is_string() && second["lag_ms"].is_u64());
}

#[tokio::test]
async fn stopping_tells_every_socket_when_to_come_back_and_ends_every_stream() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(&database.url(), &["--presence-every", "10ms"]).await;
    let mut subscriber = relay.subscribe("").await;
    subscriber.frame("snapshot").await;
    eventually("the subscriber is recorded", async || {
        connected(&client).await == 1
    })
    .await;
    let sse = relay.events_until("", None, |_| false);
    let stop = async {
        eventually("the stream is recorded", async || {
            connected(&client).await == 2
        })
        .await;
        relay.begin_to_stop();
    };
    let (sse, ()) = tokio::join!(sse, stop);
    assert_eq!(sse.last().expect("events").kind, "closing");
    let closing = subscriber.frame("closing").await;
    assert_eq!(closing["code"], 1001);
    assert!(closing["retry_after_ms"].is_u64());
    assert!(subscriber.next().await.is_none());
    relay.stop().await;
    assert_eq!(
        connected(&client).await,
        0,
        "everyone is gone, and that is written down"
    );
}

async fn connected(client: &Client) -> i64 {
    let row = client
        .query_one("SELECT count(*) FROM connection_status WHERE source = 'relay' AND status = 'connected'", &[])
        .await
        .expect("counted");
    row.get(0)
}

#[tokio::test]
async fn subscribers_of_a_relay_that_died_are_marked_disconnected_by_another() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let dying = Relay::start(&database.url(), &["--presence-every", "10ms"]).await;
    let mut subscriber = dying.subscribe("topics=none").await;
    subscriber.live().await;
    eventually("the subscriber is recorded", async || {
        connected(&client).await == 1
    })
    .await;
    dying.kill();
    let _other = Relay::start(
        &database.url(),
        &["--presence-every", "10ms", "--relay-dead-after", "300ms"],
    )
    .await;
    eventually("the dead relay's subscriber is disconnected", async || {
        connected(&client).await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sockets_that_connect_at_once_are_few_frames_to_each_other() {
    const SOCKETS: usize = 300;
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(&database.url(), &["--presence-every", "1s"]).await;
    let mut watcher = relay.subscribe("topics=connections&mode=every").await;
    let snapshot = watcher.frame("snapshot").await;
    let rows = snapshot["connections"].as_array().expect("an array").iter();
    let mut told: std::collections::BTreeSet<String> =
        rows.map(|row| text(&row["client_id"])).collect();
    let connecting = (0..SOCKETS).map(|_| relay.subscribe("topics=connections&snapshot=false"));
    let sockets = futures::future::join_all(connecting).await;
    let mut frames = 0;
    while told.len() < SOCKETS + 1 {
        frames += 1;
        let frame = watcher.frame("events").await;
        told.extend(
            frame["events"]
                .as_array()
                .expect("an array")
                .iter()
                .map(|event| text(&event["entity"])),
        );
    }
    assert!(frames <= 10, "{SOCKETS} sockets were {frames} frames");
    let writes: i64 = client
        .query_one(
            "SELECT count(DISTINCT xid) FROM bellwether.event WHERE topic = 'connections'",
            &[],
        )
        .await
        .expect("counted")
        .get(0);
    assert!(writes <= 10, "{SOCKETS} sockets were {writes} transactions");
    drop(sockets);
}

#[tokio::test]
async fn operations_without_a_sign_of_life_are_stalled_until_they_move() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let id = insert(&client, "silent").await;
    let relay = Relay::start(&database.url(), &["--stalled-after", "400ms"]).await;
    let mut subscriber = relay.subscribe("topics=operations").await;
    let snapshot = subscriber.frame("snapshot").await;
    let stalled = if snapshot["operations"][0]["stalled_since"].is_string() {
        snapshot["operations"][0].clone()
    } else {
        let events = subscriber.events_until(is("operation.stalled")).await;
        events.last().expect("one")["data"].clone()
    };
    assert_eq!(
        (&stalled["id"], stalled["stalled_since"].is_string()),
        (&json!(id), true)
    );
    let row = client
        .query_one(
            "SELECT status, score::text FROM create_sync_status_snapshot()",
            &[],
        )
        .await
        .expect("a snapshot");
    assert_eq!(row.get::<_, String>(0), "warning");
    // Again and again, as an application that is at work: one sign may be old again before anybody looks.
    let alive = async {
        loop {
            let sign = "UPDATE sync_operations SET heartbeat_at = now()";
            client.batch_execute(sign).await.expect("a sign of life");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let events = tokio::select! {
        events = subscriber.events_until(is("operation.unstalled")) => events,
        () = alive => unreachable!("it does not end"),
    };
    assert!(
        events.last().expect("one")["data"]
            .get("stalled_since")
            .is_none()
    );
}

#[tokio::test]
async fn health_is_recorded_once_a_period_however_many_relays_run() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let arguments = ["--snapshot-every", "200ms"];
    let relays = [
        Relay::start(&database.url(), &arguments).await,
        Relay::start(&database.url(), &arguments).await,
        Relay::start(&database.url(), &arguments).await,
    ];
    let counts = "SELECT count(*), count(DISTINCT period_start) FROM sync_status_snapshots WHERE kind = 'scheduled'";
    eventually("five periods", async || {
        client
            .query_one(counts, &[])
            .await
            .expect("counted")
            .get::<_, i64>(0)
            >= 5
    })
    .await;
    let row = client.query_one(counts, &[]).await.expect("counted");
    assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1), "none twice");
    let mut subscriber = relays[0].subscribe("topics=health").await;
    assert!(subscriber.frame("snapshot").await["health"]["id"].is_i64());
    subscriber.events_until(is("health.snapshot")).await;
}

#[tokio::test]
async fn errors_are_filtered_by_what_their_operation_is() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay.subscribe("topics=errors&owner=alice").await;
    subscriber.frame("snapshot").await;
    client
        .batch_execute(
            "SELECT record_sync_error(create_sync_operation('x', owner => 'bob'), 'not hers');
             SELECT record_sync_error(create_sync_operation('x', owner => 'alice'), 'hers', item => 'a.txt')",
        )
        .await
        .expect("recorded");
    let events = subscriber.events_until(is("error.recorded")).await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0]["data"]["message"], &events[0]["data"]["item"]),
        (&json!("hers"), &json!("a.txt"))
    );
}

#[tokio::test]
async fn an_emptied_table_empties_every_screen() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    insert(&client, "gone soon").await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay.subscribe("topics=operations&status=failed").await;
    subscriber.frame("snapshot").await;
    client
        .batch_execute("TRUNCATE sync_operations CASCADE")
        .await
        .expect("emptied");
    subscriber.events_until(is("table.truncated")).await;
    let mut late = relay.subscribe("topics=operations").await;
    assert_eq!(late.frame("snapshot").await["operations"], json!([]));
}
