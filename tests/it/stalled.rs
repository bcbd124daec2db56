//! Clients that have subscribed and never read, beside some who do. `make bench` measures what they cost.
//!
//! A round changes some rows and ends when everyone who reads has got the changes, so it never ends where a client that
//! does not read holds up one that does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bellwether::app;
use bellwether::http::{self, AllowedOrigins, HttpContext};
use bellwether::hub::presence::Presence;
use bellwether::hub::{Hub, HubLimits};
use bellwether::source::{self, ReplayLog, SourceOptions};
use futures::future::join_all;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::relay::{Screen, Subscriber, far_away, text};
use crate::support::{PATIENCE, TestDatabase, eventually};

/// Of each four one is a `latest` WebSocket to few rows, one a `latest` and one an `every` WebSocket to all rows, and one
/// an event stream of all rows.
const STALLED: usize = 1_000;
const OF_A_KIND: u64 = STALLED as u64 / 4;
/// How many of each begin to read again.
const WAKING: usize = 20;
/// Rows of the owner `few`, which fit into the bound, and of the owner `many`, which do not.
const FEW: i32 = 8;
const MANY: i32 = 64;
/// A round changes one part of the rows: what those who read may lack at a time is far from the bound.
const PARTS: i32 = 8;
const ROUNDS: i32 = 120;
const MESSAGE_BYTES: usize = 2_000;
const SUBSCRIBER_BYTES: usize = 128 * 1024;
/// Bytes of one round, at most.
const ROUND_BYTES: usize = 64 * 1024;
const FEW_QUERY: &str = "topics=operations&owner=few";
const ALL_QUERY: &str = "topics=operations";

/// A relay whose hub the test can ask.
struct OpenRelay {
    address: SocketAddr,
    hub: Hub,
    _stop: DropGuard,
}

impl OpenRelay {
    async fn start(database: &TestDatabase) -> Self {
        let hub = Hub::new(HubLimits {
            subscriber_bytes: SUBSCRIBER_BYTES,
            ..HubLimits::default()
        });
        let (stop, config) = (CancellationToken::new(), database.config());
        let pool = config.pool(4);
        let listener = app::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let context = HttpContext {
            hub: hub.clone(),
            log: Arc::new(ReplayLog::new(pool.clone())),
            presence: Presence::default(),
            pool,
            origins: AllowedOrigins::default(),
            heartbeat: Duration::from_secs(3_600),
            max_subscribers: 2 * STALLED,
            tasks: Default::default(),
            stop: stop.clone(),
        };
        tokio::spawn(http::run(listener, context));
        tokio::spawn(source::run(
            config,
            SourceOptions::default(),
            hub.clone(),
            stop.clone(),
        ));
        Self {
            address,
            hub,
            _stop: stop.drop_guard(),
        }
    }

    fn lost(&self, of: impl Fn(&bellwether::hub::Losses) -> &AtomicU64) -> u64 {
        of(self.hub.losses()).load(Ordering::Relaxed)
    }
}

/// One who reads, and everything that it has got.
struct Reader {
    subscriber: Subscriber,
    /// The values that each row has had, in the order in which they came.
    values: BTreeMap<String, Vec<i64>>,
    screen: Screen,
}

impl Reader {
    async fn live(mut subscriber: Subscriber) -> Self {
        subscriber.frame("heartbeat").await;
        Self {
            subscriber,
            values: BTreeMap::new(),
            screen: Screen::default(),
        }
    }

    /// The next frame, taken in; `None` once the relay has closed.
    async fn next(&mut self) -> Option<Value> {
        let frame = self.subscriber.next().await?;
        self.screen.apply(&frame);
        for event in frame["events"].as_array().into_iter().flatten() {
            let row = text(&event["data"]["operation_type"]);
            let value = event["data"]["processed_items"].as_i64().expect("a number");
            self.values.entry(row).or_default().push(value);
        }
        Some(frame)
    }

    /// Reads until every one of these rows has had the value.
    async fn reach(&mut self, rows: &[String], value: i64) {
        let has = |values: &BTreeMap<String, Vec<i64>>| {
            let reached = |row| values.get(row).and_then(|all| all.last()) == Some(&value);
            rows.iter().all(reached)
        };
        while !has(&self.values) {
            let frame = self.next().await;
            frame.expect("one who reads is not closed");
        }
    }

    /// What is on the screen: the rows and their values.
    fn shown(&self) -> BTreeMap<String, i64> {
        let rows = self.screen.operations.values();
        rows.map(|row| {
            let value = row["processed_items"].as_i64().expect("a number");
            (text(&row["operation_type"]), value)
        })
        .collect()
    }
}

/// An event stream that has been asked for and is read no further than to where it is live.
async fn stalled_stream(address: SocketAddr) -> TcpStream {
    let mut socket = far_away(address).await;
    let request =
        format!("GET /events?{ALL_QUERY}&snapshot=false HTTP/1.1\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("sent");
    read_until(&mut socket, r#""type":"heartbeat""#).await;
    socket
}

/// What comes until these words have.
async fn read_until(socket: &mut TcpStream, words: &str) -> String {
    let mut came = Vec::new();
    let reading = async {
        while !ends_with_words(&came, words) {
            let count = socket.read_buf(&mut came).await.expect("more");
            assert!(count > 0, "the relay ended the stream");
        }
    };
    timeout(PATIENCE, reading).await.expect("in time");
    String::from_utf8_lossy(&came).into_owned()
}

/// Looks at the end only, where new words are.
fn ends_with_words(came: &[u8], words: &str) -> bool {
    let recent = &came[came.len().saturating_sub(16 * 1024)..];
    String::from_utf8_lossy(recent).contains(words)
}

/// A WebSocket that has subscribed and is read no further than to where it is live.
async fn stalled_socket(address: SocketAddr, query: &str) -> Reader {
    let stream = far_away(address).await;
    let query = format!("{query}&snapshot=false");
    Reader::live(Subscriber::on(stream, &query).await).await
}

/// The rows of a part, by the names that they have.
fn rows(owner: &str, count: i32, part: i32) -> Vec<String> {
    let numbers = (0..count).filter(|number| number % PARTS == part);
    numbers.map(|number| format!("{owner} {number}")).collect()
}

async fn insert(client: &Client) {
    for (owner, count) in [("few", FEW), ("many", MANY)] {
        let insert = "INSERT INTO sync_operations (operation_type, owner, status, total_items, processed_items)
            SELECT $1 || ' ' || n, $1, 'in_progress', 1000000, 0 FROM generate_series(0, $2 - 1) n";
        client
            .execute(insert, &[&owner, &count])
            .await
            .expect("inserted");
    }
}

async fn change(client: &Client, names: &[String], value: i64) {
    let update = "UPDATE sync_operations SET processed_items = $2, message = repeat('x', $3)
        WHERE operation_type = ANY ($1)";
    let bytes = i32::try_from(MESSAGE_BYTES).expect("a few");
    client
        .execute(update, &[&names, &value, &bytes])
        .await
        .expect("updated");
}

fn every_value(last: i64) -> Vec<i64> {
    (1..=last).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_never_read_hold_up_nobody_and_take_bounded_memory() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit of open files");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raised");
    let database = TestDatabase::new().await;
    let writers = [database.client().await, database.client().await];
    insert(&writers[0]).await;
    let relay = OpenRelay::start(&database).await;
    let address = relay.address;
    eventually("the relay is live", async || relay.hub.cursor().is_some()).await;

    let mut readers = Vec::new();
    for query in [ALL_QUERY, FEW_QUERY] {
        for mode in ["latest", "every"] {
            let query = format!("{query}&mode={mode}&snapshot=false");
            let subscriber = Subscriber::connect(address, &query).await;
            readers.push((query, Reader::live(subscriber).await));
        }
    }
    let stall = |query: String| {
        let coming = (0..OF_A_KIND).map(move |_| {
            let query = query.clone();
            async move { stalled_socket(address, &query).await }
        });
        join_all(coming)
    };
    let few = stall(format!("{FEW_QUERY}&mode=latest")).await;
    let latest = stall(format!("{ALL_QUERY}&mode=latest")).await;
    let every = stall(format!("{ALL_QUERY}&mode=every")).await;
    let streams = join_all((0..OF_A_KIND).map(|_| stalled_stream(address))).await;
    assert_eq!(relay.hub.subscribers(), STALLED + readers.len());

    let mut value = 0;
    for round in 0..ROUNDS {
        let part = round % PARTS;
        value += i64::from(part == 0);
        let (few, many) = (rows("few", FEW, part), rows("many", MANY, part));
        tokio::join!(
            change(&writers[0], &few, value),
            change(&writers[1], &many, value)
        );
        let all = [&few[..], &many[..]].concat();
        for (query, reader) in &mut readers {
            let owed = if query.contains("few") { &few } else { &all };
            reader.reach(owed, value).await;
        }
        // Two groups of equal subscriptions, two modes.
        let bound = 2 * 2 * (SUBSCRIBER_BYTES + ROUND_BYTES);
        let kept = relay.hub.backlog_bytes();
        assert!(kept <= bound, "{kept} bytes are kept for {STALLED} clients");
    }

    for (query, reader) in &readers {
        let owed = if query.contains("few") {
            FEW
        } else {
            FEW + MANY
        };
        assert_eq!(reader.values.len(), owed as usize, "{query}");
        for (row, values) in &reader.values {
            assert_eq!(*values, every_value(value), "{query}: {row}");
        }
    }
    assert_eq!(relay.lost(|losses| &losses.overflows), OF_A_KIND);
    // The WebSockets and the streams to all rows; one that found room for the snapshot may have been reset again.
    assert!(relay.lost(|losses| &losses.resets) >= 2 * OF_A_KIND);
    let last = |owner: &str, count: i32| -> BTreeMap<String, i64> {
        let names = (0..count).map(|number| format!("{owner} {number}"));
        names.map(|name| (name, value)).collect()
    };
    let of_few = last("few", FEW);
    let mut of_all = last("many", MANY);
    of_all.extend(of_few.clone());

    // All at the same time: who stops reading for half a minute is let go.
    let few = join_all(few.into_iter().take(WAKING).map(async |mut reader| {
        while reader.shown() != of_few {
            let frame = reader.next().await.expect("it may stay");
            assert_ne!(frame["type"], "reset");
        }
        for values in reader.values.values() {
            assert!(values.is_sorted_by(|a, b| a < b), "{values:?}");
            assert!(values.len() < value as usize, "conflated: {values:?}");
        }
    }));
    let latest = join_all(latest.into_iter().take(WAKING).map(async |mut reader| {
        let reset = loop {
            let frame = reader.next().await.expect("it may stay");
            if frame["type"] == "reset" {
                break frame;
            }
        };
        assert_eq!(reset["reason"], "backlog_exceeded");
        for values in reader.values.values() {
            assert!(values.is_sorted_by(|a, b| a < b), "{values:?}");
        }
        while reader.shown() != of_all {
            reader.next().await.expect("it may stay");
        }
    }));
    let streams = join_all(streams.into_iter().take(WAKING).map(async |mut stream| {
        read_until(&mut stream, r#""type":"reset""#).await;
    }));
    let every = join_all(every.into_iter().take(WAKING).map(async |mut reader| {
        while reader.next().await.is_some() {}
        let closed = reader.subscriber.closed.clone();
        assert_eq!(closed.map(|(code, _)| code), Some(4002));
        for values in reader.values.values() {
            let got = i64::try_from(values.len()).expect("a few");
            assert_eq!(*values, every_value(got), "nothing is left out before");
        }
        reader
    }));
    let (_, _, _, mut cut_off) = futures::join!(few, latest, streams, every);
    assert!(relay.lost(|losses| &losses.conflated) >= WAKING as u64);
    let mut first = cut_off.pop().expect("one");
    let since = first.subscriber.cursor.clone().expect("a cursor");
    let query = format!("{ALL_QUERY}&mode=every&since={since}");
    first.subscriber = Subscriber::connect(address, &query).await;
    let names: Vec<_> = of_all.into_keys().collect();
    first.reach(&names, value).await;
    for (row, values) in &first.values {
        assert_eq!(*values, every_value(value), "{row}");
    }
}
