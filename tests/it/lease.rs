//! The doorbell lease against a real server. The safety tick is an hour: only the bell, or a relay that is awake, can
//! explain that an event arrives.

use std::collections::BTreeSet;

use futures::future::join_all;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::schema_probe::Bell;
use crate::support::relay::{Relay, Subscriber, text};
use crate::support::{PrivateServer, TestDatabase, eventually, server_options};

async fn lease(client: &Client) -> i64 {
    let row = client
        .query_one("SELECT last_value FROM bellwether.lease", &[])
        .await
        .expect("asked");
    row.get(0)
}

/// Whether the lease has not run out.
async fn runs(client: &Client) -> bool {
    let left = "SELECT last_value - extract(epoch FROM clock_timestamp()) * 1000 > 0 FROM bellwether.lease";
    client.query_one(left, &[]).await.expect("asked").get(0)
}

/// What lets a relay bear a busy machine.
const PATIENT: [&str; 4] = ["--patience", "20s", "--heartbeat", "20s"];

/// The relay was in touch with its database all the while.
fn assert_never_in_doubt(frames: &[serde_json::Value]) {
    let doubt = frames.iter().find(|frame| frame["status"] == "degraded");
    assert_eq!(doubt, None);
}

/// Extends the lease as a relay does, the ring included that it may owe.
async fn promise(client: &Client, milliseconds: i32) {
    let extend = format!("SELECT bellwether.promise_to_look({milliseconds})");
    let row = client.query_one(&extend, &[]).await.expect("extended");
    if row.get(0) {
        client
            .batch_execute("NOTIFY bellwether")
            .await
            .expect("rung");
    }
}

async fn insert(client: &Client, kind: &str) {
    client
        .execute(
            "INSERT INTO sync_operations (operation_type) VALUES ($1)",
            &[&kind],
        )
        .await
        .expect("inserted");
}

/// Reads events until one of this type of operation has come; returns the types that came.
async fn until(subscriber: &mut Subscriber, kind: &str) -> BTreeSet<String> {
    let events = subscriber
        .events_until(|event| event["data"]["operation_type"] == kind)
        .await;
    events
        .iter()
        .map(|event| text(&event["data"]["operation_type"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_a_relay_extends_the_lease_and_every_event_arrives_also_at_a_relay_that_was_calm()
 {
    const WRITERS: usize = 4;
    const AT_ONCE: usize = 400;
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relays = [
        Relay::start(&database.url(), &[]).await,
        Relay::start(&database.url(), &[]).await,
    ];
    let mut subscribers = Vec::new();
    for relay in &relays {
        let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
        subscriber.frame("snapshot").await;
        subscribers.push(subscriber);
    }
    let before = lease(&client).await;
    let writers = join_all((0..WRITERS).map(|_| database.client())).await;
    let mut each = 0;
    eventually("the load is worth a lease", async || {
        let writing = writers.iter().enumerate().map(async |(writer, client)| {
            for number in each..each + AT_ONCE {
                insert(client, &format!("{writer} {number}")).await;
            }
        });
        join_all(writing).await;
        each += AT_ONCE;
        lease(&client).await > before
    })
    .await;
    insert(&client, "the last, written while the lease may still run").await;
    for subscriber in &mut subscribers {
        let mut came = until(
            subscriber,
            "the last, written while the lease may still run",
        )
        .await;
        while came.len() < WRITERS * each + 1 {
            let frame = subscriber.frame("events").await;
            let events = frame["events"].as_array().expect("an array").iter();
            came.extend(events.map(|event| text(&event["data"]["operation_type"])));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_who_queue_for_the_bell_get_a_lease_though_slow_commits_let_only_few_through() {
    const WRITERS: usize = 6;
    // At most 50 commits that ring come in a second.
    let slow = server_options()
        .setting("fsync", "on")
        .setting("commit_delay", "20000")
        .setting("commit_siblings", "0");
    let server = PrivateServer::migrated_with(slow).await;
    let relay = Relay::start(&server.url(), &[]).await;
    let mut subscriber = relay.subscribe("topics=operations").await;
    subscriber.frame("snapshot").await;
    let client = server.client().await;
    let before = lease(&client).await;
    let stop = CancellationToken::new();
    let writers = (0..WRITERS).map(|writer| {
        let (server, stop) = (&server, &stop);
        async move {
            let client = server.client().await;
            while !stop.is_cancelled() {
                insert(&client, &format!("writer {writer}")).await;
            }
        }
    });
    let extended = async {
        eventually("the lease is extended", async || {
            lease(&client).await > before
        })
        .await;
        stop.cancel();
    };
    futures::future::join(join_all(writers), extended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_to_writers_who_queue_do_not_wait_in_their_queue() {
    let server = PrivateServer::with_a_bell_to_hold().await;
    let options = [
        "--tick",
        "100ms",
        "--probe",
        "200ms",
        "--presence-every",
        "1d",
    ];
    let options = [&options[..], &PATIENT[..]].concat();
    let relay = Relay::start(&server.url(), &options).await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    subscriber.frame("snapshot").await;

    let witness = server.client().await;
    let count = async |of: &str| {
        let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE {of}");
        let row = witness.query_one(&sessions, &[]).await.expect("asked");
        row.get::<_, i64>(0)
    };
    let (first, second) = (server.client().await, server.client().await);
    let queueing = async {
        eventually("the commit is held up", async || {
            count("wait_event = 'SyncRep'").await == 1
        })
        .await;
        futures::future::join(insert(&first, "queued"), insert(&second, "queued")).await;
    };
    let promising = async {
        eventually("two writers queue", async || {
            count("wait_event_type = 'Lock' AND application_name = ''").await == 2
        })
        .await;
        let quiet = server.client().await;
        quiet
            .batch_execute("SET bellwether.doorbell = 'never'")
            .await
            .expect("set");
        let mut promises = BTreeSet::from([lease(&witness).await]);
        eventually("the promise is renewed again and again", async || {
            insert(&quiet, "beside the queue").await;
            promises.insert(lease(&witness).await);
            promises.len() > 10
        })
        .await;
        eventually("the ring for other relays queues, too", async || {
            count("wait_event_type = 'Lock' AND application_name = 'bellwether ringer'").await > 0
        })
        .await;
        assert_eq!(count("wait_event = 'SyncRep'").await, 1, "all the while");
        witness
            .batch_execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
            )
            .await
            .expect("let go");
    };
    futures::join!(server.hold_the_bell(), queueing, promising);
    insert(&witness, "the last").await;
    let frames = subscriber
        .frames_until(|frame| frame.to_string().contains("the last"))
        .await;
    assert_never_in_doubt(&frames);
    let queued = frames.iter().map(|frame| {
        frame
            .to_string()
            .matches("\"operation_type\":\"queued\"")
            .count()
    });
    assert_eq!(queued.sum::<usize>(), 2);
    eventually("the ring has gone its way", async || {
        count("application_name = 'bellwether ringer'").await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_that_cannot_be_made_costs_the_session_nothing() {
    const WRITERS: usize = 4;
    const EACH: usize = 300;
    let database = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &PATIENT).await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    subscriber.frame("snapshot").await;
    let client = database.client().await;
    // Promises wait for this lock, and give up.
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE bellwether.timeline IN SHARE UPDATE EXCLUSIVE MODE")
        .await
        .expect("locked");
    let before = lease(&client).await;
    // What is not flushed by others makes the relay ask behind a promise in the same moment.
    let writers = (0..WRITERS).map(|writer| {
        let database = &database;
        async move {
            let client = database.client().await;
            client
                .batch_execute("SET synchronous_commit = off")
                .await
                .expect("set");
            for number in 0..EACH {
                insert(&client, &format!("{writer} {number}")).await;
            }
        }
    });
    join_all(writers).await;
    insert(&client, "the last").await;
    let frames = subscriber
        .frames_until(|frame| frame.to_string().contains("the last"))
        .await;
    assert_never_in_doubt(&frames);
    let events = frames
        .iter()
        .filter_map(|frame| frame["events"].as_array())
        .map(Vec::len);
    assert_eq!(events.sum::<usize>(), WRITERS * EACH + 1);
    assert_eq!(lease(&client).await, before, "no promise could be made");
}

#[tokio::test]
async fn a_writer_that_was_silent_under_a_lease_and_commits_long_after_it_is_heard() {
    let database = TestDatabase::new().await;
    let (client, slow) = (database.client().await, database.client().await);
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    subscriber.frame("snapshot").await;
    for repetition in 0..5 {
        let silent = format!("silent {repetition}");
        eventually(
            "a writer is silent, since the lease runs still",
            async || {
                slow.batch_execute("ROLLBACK; BEGIN").await.expect("begun");
                promise(&client, 100).await;
                insert(&slow, &silent).await;
                runs(&client).await
            },
        )
        .await;
        let promised = lease(&client).await;
        eventually("the lease has run out", async || {
            let now = client
                .query_one(
                    "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
                    &[],
                )
                .await;
            now.expect("asked").get::<_, i64>(0) > promised + 50 * repetition
        })
        .await;
        slow.batch_execute("COMMIT").await.expect("committed");
        assert_eq!(
            until(&mut subscriber, &silent).await,
            [silent.clone()].into()
        );
    }
}

#[tokio::test]
async fn a_relay_that_hears_of_a_lease_when_it_has_run_out_still_waits_for_who_was_silent_under_it()
{
    let server = PrivateServer::migrated().await;
    let relay = Relay::start(&server.url(), &["--presence-every", "1d", "--probe", "1d"]).await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    subscriber.frame("snapshot").await;
    let (extender, slow, witness) = (
        server.client().await,
        server.client().await,
        server.client().await,
    );
    let idle_reader = "SELECT query_start FROM pg_stat_activity
        WHERE application_name = 'bellwether reader' AND state = 'idle'";
    let asleep =
        format!("{idle_reader} AND query_start < clock_timestamp() - interval '700 milliseconds'");
    eventually("the relay sleeps", async || {
        let found = witness.query_opt(&asleep, &[]).await;
        found.expect("asked").is_some()
    })
    .await;

    eventually(
        "a writer is silent, since the lease runs still",
        async || {
            slow.batch_execute("ROLLBACK; BEGIN").await.expect("begun");
            extender
                .batch_execute("SELECT bellwether.promise_to_look(1000)")
                .await
                .expect("extended, and not rung yet");
            insert(&slow, "silent").await;
            runs(&witness).await
        },
    )
    .await;
    eventually("the lease has run out", async || !runs(&witness).await).await;
    extender
        .batch_execute("NOTIFY bellwether")
        .await
        .expect("rung");
    eventually("the relay has heard the ring and looked", async || {
        let found = witness.query_opt(&asleep, &[]).await;
        found.expect("asked").is_none()
    })
    .await;
    eventually("it has read the lease", async || {
        let found = witness.query_opt(idle_reader, &[]).await;
        found.expect("asked").is_some()
    })
    .await;
    slow.batch_execute("COMMIT").await.expect("committed");
    until(&mut subscriber, "silent").await;
}

#[tokio::test]
async fn while_a_lease_runs_adaptive_writers_are_silent_and_always_ones_ring() {
    let database = TestDatabase::new().await;
    let (client, mut bell) = (database.client().await, Bell::new(&database).await);
    let present = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    for (lease, doorbell, rings) in [
        ("0", "adaptive", true),
        (&format!("{present} + 900"), "adaptive", false),
        (&format!("{present} + 900"), "nonsense", false),
        (&format!("{present} + 900"), "always", true),
        (&format!("{present} + 3600000"), "adaptive", true),
        ("0", "never", false),
    ] {
        let write = format!(
            "SET bellwether.doorbell = '{doorbell}';
             DO $$ BEGIN
                 PERFORM setval('bellwether.lease', {lease});
                 INSERT INTO sync_operations (operation_type) VALUES ('x');
             END $$"
        );
        client.batch_execute(&write).await.expect("written");
        assert_eq!(
            bell.rings().await,
            usize::from(rings),
            "lease {lease}, doorbell {doorbell}"
        );
    }
}

#[tokio::test]
async fn bursts_and_silences_at_random_lose_no_wake_up() {
    let database = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    subscriber.frame("snapshot").await;
    let clients = [
        database.client().await,
        database.client().await,
        database.client().await,
    ];
    for round in 0..8 {
        let burst = rand::random_range(0..120);
        let writing = clients
            .iter()
            .enumerate()
            .map(|(writer, client)| async move {
                for number in 0..burst {
                    insert(client, &format!("{round} {writer} {number}")).await;
                }
            });
        join_all(writing).await;
        // A quiet time of random length, in which the relay falls asleep or is about to.
        clients[0]
            .execute("SELECT pg_sleep($1)", &[&rand::random_range(0.0..0.4)])
            .await
            .expect("slept");
        let last = format!("{round} last");
        insert(&clients[1], &last).await;
        until(&mut subscriber, &last).await;
    }
}
