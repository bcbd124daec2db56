//! Everybody is cut off at once and comes back at once. `make bench` measures how long that takes.

use futures::future::join_all;
use serde_json::Value;

use crate::support::PrivateServer;
use crate::support::relay::{Relay, Subscriber, text};

const SUBSCRIBERS: usize = 1_000;
const OWNERS: usize = 20;
const MISSED: usize = 10;
/// Queries that the relay may make for all of them together.
const QUERIES: i64 = 20;

/// Half of them follow the operations of one owner, half of them all; half in either mode.
fn query(number: usize) -> String {
    let mode = if number.is_multiple_of(2) {
        "every"
    } else {
        "latest"
    };
    let owner = if number % 4 < 2 {
        format!("&owner=owner {}", number % OWNERS)
    } else {
        String::new()
    };
    format!("topics=operations&mode={mode}{owner}").replace(' ', "%20")
}

fn is_owed(number: usize, event: &(String, String)) -> bool {
    number % 4 >= 2 || event.1 == format!("owner {}", number % OWNERS)
}

/// Reads until the subscription is live; returns the operation and the owner of each event that came on the way.
async fn live(subscriber: &mut Subscriber) -> Vec<(String, String)> {
    let frames = subscriber
        .frames_until(|frame| frame["type"] == "heartbeat")
        .await;
    let events = frames
        .iter()
        .filter_map(|frame| frame["events"].as_array())
        .flatten();
    let pair = |event: &Value| (text(&event["entity"]), text(&event["data"]["owner"]));
    events.map(pair).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_subscribers_that_come_back_at_once_get_what_each_missed_for_a_few_queries() {
    let server = PrivateServer::counting_statements().await;
    let client = server.client().await;
    // What is done by the clock is not done for them, and how much of it falls into the storm is up to the machine.
    let by_the_clock = [
        "--heartbeat",
        "1h",
        "--presence-every",
        "1h",
        "--probe",
        "1h",
    ];
    let relay = Relay::start(&server.url(), &by_the_clock).await;

    let arriving = (0..SUBSCRIBERS).map(async |number| {
        let mut subscriber = relay.subscribe(&query(number)).await;
        live(&mut subscriber).await;
        subscriber.cursor.clone().expect("a cursor")
    });
    // Each is cut off when it is live, and so all of them are when the last one is.
    let cursors = join_all(arriving).await;
    let insert =
        "INSERT INTO sync_operations (operation_type, owner) SELECT 'missed', 'owner ' || n
        FROM generate_series(0, $1) n RETURNING id::text, owner";
    let mut witness = relay.subscribe("topics=operations&mode=every").await;
    live(&mut witness).await;
    let mut missed = Vec::new();
    for _ in 0..MISSED {
        let last = i32::try_from(OWNERS - 1).expect("a few");
        let rows = client.query(insert, &[&last]).await.expect("inserted");
        missed.extend(
            rows.iter()
                .map(|row| (row.get::<_, String>(0), row.get::<_, String>(1))),
        );
    }
    let mut seen = 0;
    while seen < missed.len() {
        let frame = witness.frame("events").await;
        seen += frame["events"].as_array().expect("an array").len();
    }
    client
        .batch_execute("SELECT pg_stat_statements_reset()")
        .await
        .expect("reset");

    let returning = cursors.iter().enumerate().map(async |(number, cursor)| {
        let mut subscriber = relay
            .subscribe(&format!("{}&since={cursor}", query(number)))
            .await;
        (live(&mut subscriber).await, subscriber)
    });
    let returned = join_all(returning).await;
    let queries = client
        .query_one(
            "SELECT coalesce(sum(calls), 0)::bigint, string_agg(calls || ' ' || query, E'\\n') FROM pg_stat_statements
            WHERE query NOT LIKE '%pg_stat_statements%' AND toplevel",
            &[],
        )
        .await
        .expect("counted");
    for (number, (mut came, _)) in returned.into_iter().enumerate() {
        let mut owed: Vec<_> = missed
            .iter()
            .filter(|event| is_owed(number, event))
            .cloned()
            .collect();
        // One statement's rows have no order that a client could rely on.
        came.sort_unstable();
        owed.sort_unstable();
        assert_eq!(came, owed, "{}", query(number));
    }
    let (calls, which) = (
        queries.get::<_, i64>(0),
        queries.get::<_, Option<String>>(1),
    );
    println!("{calls} queries");
    assert!(
        calls <= QUERIES,
        "{calls} queries:\n{}",
        which.unwrap_or_default()
    );
}
