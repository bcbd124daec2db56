//! Subscribers in mode `every` that are further back than the relay's memory: the log is read for them, page by page.

use std::collections::BTreeSet;
use std::sync::Arc;

use bellwether::cursor::{Cursor, Epoch, Snapshot, Within};
use bellwether::hub::{Log, ReplayError};
use bellwether::source::ReplayLog;
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::TestDatabase;
use crate::support::relay::{Relay, ServerSentEvent, Subscriber, far_away, text};

/// As many as may read the log at the same time, and one more.
const STALLED: usize = 3;
/// More than a socket takes of what nobody reads.
const ROWS: usize = 4_000;

/// The ids of the frame's events.
fn ids(frame: &Value) -> Vec<i64> {
    let events = frame["events"].as_array().into_iter().flatten();
    events
        .map(|event| event["id"].as_i64().expect("an id"))
        .collect()
}

async fn execute(client: &Client, statements: &str) {
    client.batch_execute(statements).await.expect("executed");
}

/// That of the database's log, which its first relay gives it.
async fn epoch(database: &TestDatabase) -> Epoch {
    let relay = Relay::start(&database.url(), &["--presence-every", "1d"]).await;
    let mut subscriber = relay.subscribe("topics=operations").await;
    let cursor = text(&subscriber.frame("heartbeat").await["cursor"]);
    Cursor::decode(&cursor).expect("a cursor").epoch
}

async fn snapshot(client: &Client) -> Snapshot {
    let row = client
        .query_one("SELECT pg_current_snapshot()::text", &[])
        .await;
    Snapshot::parse(row.expect("a snapshot").get(0)).expect("a snapshot")
}

/// What a reader at `seen` lacks and `to` has, as the log says it.
async fn lacked(client: &Client, seen: &Snapshot, to: &Snapshot) -> Vec<i64> {
    let statement = "SELECT id FROM bellwether.event
        WHERE NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot) AND pg_visible_in_snapshot(xid, $2::text::pg_snapshot) ORDER BY id";
    let rows = client
        .query(statement, &[&seen.to_string(), &to.to_string()])
        .await;
    rows.expect("the log")
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// The ids of each piece, and up to where a reader of it has everything.
async fn replayed(log: &ReplayLog, from: &Cursor, to: &Cursor) -> Vec<(Vec<i64>, i64)> {
    let pieces = log.replay(Arc::new(from.clone()), Arc::new(to.clone()));
    let ids = pieces.map_ok(|piece| {
        let ids = piece.events.iter().map(|event| event.id).collect();
        (ids, piece.last_id)
    });
    ids.try_collect().await.expect("the log")
}

fn all(pieces: &[(Vec<i64>, i64)]) -> Vec<i64> {
    pieces.iter().flat_map(|(ids, _)| ids.clone()).collect()
}

#[tokio::test]
async fn the_pages_of_an_interval_are_the_interval_wherever_one_goes_on() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let epoch = epoch(&database).await;
    let before_all = snapshot(&client).await;
    let jump = async |by: i64| {
        let sql =
            format!("SELECT setval('bellwether.event_id', nextval('bellwether.event_id') + {by})");
        execute(&client, &sql).await;
    };
    execute(&client, "INSERT INTO sync_operations (operation_type) SELECT 'mine ' || n FROM generate_series(1, 20) n").await;
    // Open while the interval begins: its first events have ids from long before it, its last ones from the end.
    let early = database.client().await;
    execute(&early, "BEGIN; INSERT INTO sync_operations (operation_type) SELECT 'early' FROM generate_series(1, 3)").await;
    for n in 0..20 {
        execute(&client, &format!("UPDATE sync_operations SET message = repeat('{n} ', 1000) WHERE operation_type LIKE 'mine %'")).await;
    }
    jump(450_000).await;
    let rolled_back = database.client().await;
    execute(
        &rolled_back,
        "BEGIN; INSERT INTO sync_operations (operation_type) VALUES ('never')",
    )
    .await;
    let seen = snapshot(&client).await;
    for n in 0..20 {
        execute(&client, &format!("UPDATE sync_operations SET message = repeat('{n} ', 1000) WHERE operation_type LIKE 'mine %'")).await;
    }
    // The last one before a gap fills its page.
    execute(
        &client,
        "UPDATE sync_operations SET message = repeat('x', 2000000) WHERE operation_type = 'mine 1'",
    )
    .await;
    jump(100_000).await;
    execute(
        &client,
        "UPDATE sync_operations SET message = NULL WHERE operation_type LIKE 'mine %'",
    )
    .await;
    execute(&rolled_back, "ROLLBACK").await;
    let few = snapshot(&client).await;
    // So many that they are not read by their transactions, nor measured at once.
    execute(
        &client,
        "INSERT INTO connection_status (client_id) SELECT 'c' || n FROM generate_series(1, 3000) n",
    )
    .await;
    for n in 0..36 {
        execute(
            &client,
            &format!("UPDATE connection_status SET metadata = '{{\"n\": {n}}}'"),
        )
        .await;
    }
    let late = database.client().await;
    execute(
        &late,
        "BEGIN; INSERT INTO sync_operations (operation_type) VALUES ('late')",
    )
    .await;
    jump(10_000).await;
    execute(&client, "UPDATE connection_status SET metadata = '{}'").await;
    execute(
        &early,
        "INSERT INTO sync_operations (operation_type) VALUES ('early'); COMMIT",
    )
    .await;
    let many = snapshot(&client).await;
    execute(
        &client,
        "UPDATE connection_status SET metadata = '{\"after\": true}'",
    )
    .await;
    execute(&late, "COMMIT").await;

    let log = ReplayLog::new(database.config().pool(2));
    let intervals = [
        (&before_all, &few, 800..900),
        (&seen, &few, 400..500),
        (&seen, &many, 114_000..116_000),
    ];
    for (seen, to, count) in intervals {
        let (from, end) = (
            Cursor::at(epoch, seen.clone()),
            Cursor::at(epoch, to.clone()),
        );
        let owed = lacked(&client, seen, to).await;
        assert!(count.contains(&owed.len()), "{} events", owed.len());
        let pieces = replayed(&log, &from, &end).await;
        assert!(pieces.len() > 4, "{} pieces", pieces.len());
        assert!(all(&pieces) == owed);
        let step = 1 + pieces.len() / 5;
        let mut had = 0;
        for (number, (ids, last_id)) in pieces.iter().enumerate() {
            had += ids.len();
            assert!(ids.last().is_none_or(|last| last <= last_id));
            if number % step == 0 {
                let within = Some(Within {
                    to: to.clone(),
                    last_id: *last_id,
                });
                let cut_off = Cursor {
                    within,
                    ..from.clone()
                };
                assert!(all(&replayed(&log, &cut_off, &end).await) == owed[had..]);
            }
        }
    }
    let nothing = Cursor::at(epoch, many);
    assert_eq!(replayed(&log, &nothing, &nothing).await, []);
}

#[tokio::test]
async fn a_log_that_is_trimmed_while_its_pages_are_read_says_so() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "INSERT INTO connection_status (client_id) VALUES ('first')",
    )
    .await;
    let epoch = epoch(&database).await;
    let from = Arc::new(Cursor::at(
        epoch,
        Snapshot::parse("3:3:").expect("a snapshot"),
    ));
    execute(
        &client,
        "INSERT INTO connection_status (client_id) SELECT 'c' || n FROM generate_series(1, 3000) n",
    )
    .await;
    let to = Arc::new(Cursor::at(epoch, snapshot(&client).await));
    let log = ReplayLog::new(database.config().pool(2));
    let mut pages = log.replay(from, to);
    let first = pages.next().await.expect("a page").expect("read");
    assert_eq!(first.events[0].row.entity.as_ref(), "first");
    // Nothing is held between two pages: the log can be trimmed.
    execute(
        &client,
        "SET lock_timeout = '1s'; BEGIN; LOCK TABLE bellwether.event IN ACCESS EXCLUSIVE MODE;
         UPDATE bellwether.log SET trimmed_through = pg_current_xact_id(); TRUNCATE bellwether.event; COMMIT",
    )
    .await;
    let rest: Vec<_> = pages.collect().await;
    let (last, pieces) = rest.split_last().expect("more");
    assert!(matches!(last, Err(ReplayError::Trimmed)), "{last:?}");
    assert!(
        pieces.iter().all(Result::is_ok),
        "the rest of the first page"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_in_the_middle_of_the_log_keeps_nobody_waiting() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(
        &database.url(),
        // The first one takes it as it comes, and may be slow.
        &[
            "--ring-bytes",
            "1000",
            "--heartbeat",
            "300ms",
            "--subscriber-bytes",
            "100000000",
        ],
    )
    .await;
    let mut first = relay.subscribe("topics=operations&mode=every").await;
    let since = text(&first.frame("heartbeat").await["cursor"]);
    let insert = format!(
        "INSERT INTO sync_operations (operation_type, message) SELECT 'bulk', repeat('x', 3000) FROM generate_series(1, {ROWS})"
    );
    execute(&client, &insert).await;
    let owed = client
        .query(
            "SELECT id FROM bellwether.event WHERE topic = 'operations' ORDER BY id",
            &[],
        )
        .await
        .expect("the log");
    let owed: Vec<i64> = owed.iter().map(|row| row.get(0)).collect();
    // All of it has gone through the relay's memory.
    all_of(&mut first, Vec::new(), &owed).await;

    let query = format!("topics=operations&mode=every&since={since}");
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut one = Subscriber::on(far_away(relay.address).await, &query).await;
        let had = ids(&one.frame("events").await);
        stalled.push((one, had));
    }
    let mut reader = Subscriber::connect(relay.address, &query).await;
    all_of(&mut reader, Vec::new(), &owed).await;
    // They have been waited for, which ends after half a minute: nobody else had to wait for that.
    let reading = stalled
        .iter_mut()
        .map(|(one, had)| all_of(one, std::mem::take(had), &owed));
    futures::future::join_all(reading).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_source_for_which_the_log_cannot_be_read_yet_is_told_so_and_resumes() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let relay = Relay::start(
        &database.url(),
        &["--ring-bytes", "1000", "--heartbeat", "300ms"],
    )
    .await;
    let query = "topics=operations&mode=every";
    let is = |kind: &'static str| {
        move |told: &[ServerSentEvent]| told.last().is_some_and(|one| one.kind == kind)
    };
    let told = relay.events_until(query, None, is("heartbeat")).await;
    let since = told.last().and_then(|one| one.id.clone());
    let since = since.expect("a cursor");
    execute(
        &client,
        "INSERT INTO sync_operations (operation_type, message) SELECT 'missed', repeat('x', 3000) FROM generate_series(1, 9)",
    )
    .await;
    let came = |told: &[ServerSentEvent]| -> Vec<i64> {
        told.iter().flat_map(|one| ids(&one.data)).collect()
    };
    // It has gone through the relay's memory, which does not reach back.
    let owed = relay.events_until(query, Some(&since), |told| came(told).len() == 9);
    let owed = came(&owed.await);

    execute(
        &client,
        "BEGIN; LOCK TABLE bellwether.event IN ACCESS EXCLUSIVE MODE",
    )
    .await;
    let told = relay.events_until(query, Some(&since), is("catching_up"));
    let told = told.await;
    assert_eq!(came(&told), [0; 0], "nobody can read the log");
    assert!(
        told.iter()
            .all(|one| one.kind != "heartbeat" && one.kind != "snapshot"),
        "it is not complete, nor does it begin anew: {told:?}"
    );
    let sign = told.last().expect("a sign of life");
    assert_eq!(sign.data["sub"], "default");
    assert_eq!(
        sign.id.as_ref(),
        Some(&since),
        "it is no further than it was"
    );
    execute(&client, "ROLLBACK").await;
    let told = relay.events_until(query, Some(&since), is("heartbeat"));
    assert_eq!(came(&told.await), owed);
}

/// Reads until all that is owed has come, each once and in order, and then the subscription is live.
async fn all_of(subscriber: &mut Subscriber, mut had: Vec<i64>, owed: &[i64]) {
    while had.len() < owed.len() {
        let frame = subscriber.next().await.expect("it may stay");
        had.extend(ids(&frame));
    }
    assert!(
        had == owed,
        "{} events, of which {} are owed",
        had.len(),
        owed.len()
    );
    assert_eq!(had.iter().collect::<BTreeSet<_>>().len(), had.len());
    subscriber.frame("heartbeat").await;
}
