//! The way to sleep and back, again and again: where wake-ups get lost.

use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Client;

use super::{choices, from_environment};
use crate::schema_probe::Bell;
use crate::support::relay::{Relay, Subscriber};
use crate::support::{PATIENCE, TestDatabase};

/// How long the quiet and the bursts go on in `make test`.
const SECONDS: u64 = 8;

async fn insert(client: &Client, kind: &str) {
    client
        .execute(
            "INSERT INTO sync_operations (operation_type) VALUES ($1)",
            &[&kind],
        )
        .await
        .expect("inserted");
}

async fn comes(subscriber: &mut Subscriber, kind: &str) {
    let coming = subscriber.events_until(|event| event["data"]["operation_type"] == kind);
    // The safety tick is an hour, so only the bell, or a relay that is awake, can explain less.
    let came = timeout(PATIENCE, coming).await;
    assert!(came.is_ok(), "{kind} has not come within {PATIENCE:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_tick_of_an_hour_no_event_grows_old_however_quiet_and_bursts_follow_each_other() {
    let seed = from_environment("SOAK_SEED").unwrap_or_else(rand::random);
    let seconds = from_environment("SOAK_SECONDS").unwrap_or(SECONDS);
    println!("SOAK_SEED={seed} SOAK_SECONDS={seconds}");
    let mut choices = choices(seed, 0);
    let database = TestDatabase::new().await;
    // Nor does it ring who writes down that the subscribers are there.
    let relays = [
        Relay::start(&database.url(), &["--presence-every", "1d"]).await,
        Relay::start(&database.url(), &["--presence-every", "1d"]).await,
    ];
    let mut subscribers = Vec::new();
    for relay in &relays {
        let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
        subscriber.frame("snapshot").await;
        subscribers.push(subscriber);
    }
    let clients = [
        database.client().await,
        database.client().await,
        database.client().await,
    ];
    let slow = database.client().await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut round = 0;
    while Instant::now() < until {
        round += 1;
        sleep(Duration::from_millis(choices.random_range(0..1_000))).await;
        // Open over the burst and over the end of every lease, and then committed in the quiet.
        slow.batch_execute("BEGIN").await.expect("begun");
        let burst = choices.random_range(0..200);
        let bursts = clients
            .iter()
            .enumerate()
            .map(|(number, client)| async move {
                for count in 0..burst {
                    insert(client, &format!("{round} {number} {count}")).await;
                }
            });
        futures::future::join(futures::future::join_all(bursts), async {
            insert(&slow, &format!("{round} slow")).await;
        })
        .await;
        sleep(Duration::from_millis(choices.random_range(0..1_000))).await;
        slow.batch_execute("COMMIT").await.expect("committed");
        for subscriber in &mut subscribers {
            comes(subscriber, &format!("{round} slow")).await;
        }
        insert(&clients[0], &format!("{round} last")).await;
        for subscriber in &mut subscribers {
            comes(subscriber, &format!("{round} last")).await;
        }
    }
    println!("{round} rounds");
}

#[tokio::test]
async fn where_nobody_may_ring_the_safety_tick_brings_every_event() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let never = format!(
        "ALTER DATABASE {} SET bellwether.doorbell = 'never'",
        database.name()
    );
    client.batch_execute(&never).await.expect("set");
    let relay = Relay::start(
        &database.url(),
        &["--tick", "200ms", "--presence-every", "1h"],
    )
    .await;
    let mut subscriber = relay.subscribe("mode=every&topics=operations").await;
    subscriber.frame("snapshot").await;
    let mut bell = Bell::new(&database).await;
    let writer = database.client().await;
    let process = "SELECT pg_backend_pid()";
    let process = writer.query_one(process, &[]).await.expect("asked").get(0);
    for number in 0..5 {
        let kind = format!("silent {number}");
        insert(&writer, &kind).await;
        comes(&mut subscriber, &kind).await;
    }
    assert_eq!(bell.rings_of(process).await, 0, "the writer rang");
    writer
        .batch_execute("SET bellwether.doorbell = 'always'")
        .await
        .expect("set");
    insert(&writer, "loud").await;
    assert_eq!(bell.rings_of(process).await, 1, "who rings is heard");
}
