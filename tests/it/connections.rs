//! The relay writes down who is connected, and tells it to whoever watches. Hundreds come and go at once here.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::relay::{Relay, Subscriber, text};
use crate::support::{PrivateServer, eventually};

const WATCHERS: usize = 50;
const CLIENTS: usize = 300;
/// Ticks in which nothing may happen when nobody comes or goes.
const QUIET_TICKS: i64 = 5;
/// Statements of one tick at most, with the looks that follow what it writes.
const STATEMENTS: i64 = 12;

/// What a watcher believes, or what is so: each connection's status and revision.
type Connections = BTreeMap<String, (String, i64)>;

struct Watcher {
    subscriber: Subscriber,
    connections: Connections,
}

impl Watcher {
    fn apply(&mut self, frame: &Value) {
        let of_snapshot = frame["connections"].as_array().into_iter().flatten();
        let events = frame["events"].as_array().into_iter().flatten();
        for row in of_snapshot.chain(events.map(|event| &event["data"])) {
            let revision = row["revision"].as_i64().expect("a number");
            let held = self.connections.get(&text(&row["client_id"]));
            if held.is_none_or(|(_, held)| *held <= revision) {
                let status = text(&row["status"]);
                self.connections
                    .insert(text(&row["client_id"]), (status, revision));
            }
        }
    }

    /// Reads until what it believes is so.
    async fn believes(&mut self, table: &Connections) {
        while self.connections != *table {
            let frame = self.subscriber.next().await.expect("not closed");
            self.apply(&frame);
        }
    }
}

async fn table(client: &Client) -> Connections {
    let rows = "SELECT client_id, status, revision FROM connection_status";
    let rows = client.query(rows, &[]).await.expect("the table");
    rows.iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect()
}

async fn are_written_down(client: &Client, connected: usize, disconnected: usize) {
    let asking = "SELECT count(*) FILTER (WHERE status = 'connected'), count(*) FILTER (WHERE status = 'disconnected')
        FROM connection_status";
    let due = [connected, disconnected].map(|count| i64::try_from(count).expect("a few"));
    eventually("who came and who went is written down", async || {
        let row = client.query_one(asking, &[]).await.expect("the table");
        [row.get::<_, i64>(0), row.get(1)] == due
    })
    .await;
}

/// What the relay has asked the database since the last reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    /// How often it wrote down that it is alive: once a tick.
    ticks: i64,
    /// Statements that wrote down who is connected.
    writes: i64,
    all: i64,
}

async fn asked(client: &Client) -> Asked {
    let counts = "SELECT
            coalesce(sum(calls) FILTER (WHERE query LIKE 'INSERT INTO bellwether.relay %'), 0)::bigint,
            coalesce(sum(calls) FILTER (WHERE query LIKE 'INSERT INTO public.connection_status %'
                OR query LIKE 'UPDATE public.connection_status %'), 0)::bigint,
            coalesce(sum(calls), 0)::bigint
        FROM pg_stat_statements
        WHERE toplevel AND query NOT LIKE '%pg_stat_statements%' AND query NOT LIKE '%FROM connection_status%'
            AND query NOT LIKE '%FROM bellwether.event %'";
    let row = client.query_one(counts, &[]).await.expect("counted");
    Asked {
        ticks: row.get(0),
        writes: row.get(1),
        all: row.get(2),
    }
}

async fn connection_events(client: &Client) -> i64 {
    let count = "SELECT count(*) FROM bellwether.event WHERE topic = 'connections'";
    client.query_one(count, &[]).await.expect("the log").get(0)
}

/// Waits until nothing has been written for some ticks: it never comes to that where what is written is a reason to
/// write.
async fn quiet(client: &Client) {
    let (mut from, mut events) = (asked(client).await, connection_events(client).await);
    eventually("nothing is written when nobody comes or goes", async || {
        let (now, events_now) = (asked(client).await, connection_events(client).await);
        if (now.writes, events_now) != (from.writes, events) {
            (from, events) = (now, events_now);
        }
        now.ticks >= from.ticks + QUIET_TICKS
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_watch_connections_are_told_the_truth_of_hundreds_for_a_few_statements() {
    let server = PrivateServer::counting_statements().await;
    let client = server.client().await;
    let settings = [
        "--heartbeat",
        "1h",
        "--probe",
        "1h",
        "--presence-every",
        "100ms",
    ];
    let relay = Relay::start(&server.url(), &settings).await;

    let watchers = (0..WATCHERS).map(async |number| {
        let mode = ["latest", "every"][number % 2];
        let query = format!("topics=connections&mode={mode}");
        let mut watcher = Watcher {
            subscriber: relay.subscribe(&query).await,
            connections: Connections::new(),
        };
        let frames = watcher
            .subscriber
            .frames_until(|frame| frame["type"] == "heartbeat")
            .await;
        frames.iter().for_each(|frame| watcher.apply(frame));
        watcher
    });
    let mut watchers = join_all(watchers).await;
    are_written_down(&client, WATCHERS, 0).await;
    quiet(&client).await;
    let before = connection_events(&client).await;
    client
        .batch_execute("SELECT pg_stat_statements_reset()")
        .await
        .expect("reset");

    let come = || join_all((0..CLIENTS).map(|_| relay.subscribe("topics=operations")));
    let first = come().await;
    are_written_down(&client, WATCHERS + CLIENTS, 0).await;
    drop(first);
    let second = come().await;
    are_written_down(&client, WATCHERS + CLIENTS, CLIENTS).await;
    drop(second);
    are_written_down(&client, WATCHERS, 2 * CLIENTS).await;
    let asked_in_storm = asked(&client).await;
    quiet(&client).await;

    let truth = table(&client).await;
    assert_eq!(truth.len(), WATCHERS + 2 * CLIENTS);
    for watcher in &mut watchers {
        watcher.believes(&truth).await;
    }
    let Asked { ticks, writes, all } = asked_in_storm;
    assert!(
        writes <= 2 * ticks,
        "{writes} statements in {ticks} ticks: one for those who came, one for those who went"
    );
    assert!(
        all <= STATEMENTS * (ticks + 1),
        "{all} statements in {ticks} ticks"
    );
    // Each came, may have been measured once, and went.
    let events = connection_events(&client).await - before;
    let most = i64::try_from(3 * 2 * CLIENTS + WATCHERS).expect("a few");
    assert!(events <= most, "{events} events");
    println!("{asked_in_storm:?}, {events} events");
}
