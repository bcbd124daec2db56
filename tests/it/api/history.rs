//! The history of an operation.

use serde_json::Value;
use tokio_postgres::Client;

use super::{Api, column_of, execute, id, value};
use crate::support::{TestDatabase, eventually};

/// Work on two operations, turn by turn, each line a transaction.
const WORK: [&str; 7] = [
    "INSERT INTO sync_operations (id, operation_type) VALUES ('00000000-0000-0000-0000-000000000001', 'upload')",
    "INSERT INTO sync_operations (id, operation_type) VALUES ('00000000-0000-0000-0000-000000000002', 'upload')",
    "UPDATE sync_operations SET status = 'in_progress'",
    "SELECT record_sync_error('00000000-0000-0000-0000-000000000001', 'oops')",
    "UPDATE sync_operations SET message = 'on it' WHERE id = '00000000-0000-0000-0000-000000000001'",
    "SELECT record_sync_error('00000000-0000-0000-0000-000000000002', 'not mine')",
    "UPDATE sync_operations SET status = 'completed'",
];

/// What of that the first operation's history shows.
const HISTORY: [&str; 5] = [
    "operation.created",
    "operation.started",
    "error.recorded",
    "operation.progress",
    "operation.completed",
];

async fn worked() -> (TestDatabase, Api) {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    for step in WORK {
        execute(&client, step).await;
    }
    let api = Api::of(&database, 2).await;
    (database, api)
}

#[tokio::test]
async fn a_history_has_every_change_of_an_operation_and_its_errors_in_order_and_nothing_else() {
    let (database, api) = worked().await;
    let history = api.get(&format!("operations/{}/events", id(1))).await;
    assert_eq!(column_of(&history["events"], "type"), HISTORY);
    assert!(history["next"].is_null());
    assert!(history["complete_from"].is_null(), "nothing was trimmed");
    for event in history["events"].as_array().expect("events") {
        assert_eq!(event["entity"], id(1));
    }
    let last = &history["events"][4];
    let logged = value(
        &database.client().await,
        &format!(
            "SELECT coalesce(payload, bellwether.row_in_utc(operation)) FROM bellwether.event WHERE id = {}",
            last["id"]
        ),
    )
    .await;
    assert_eq!(
        last["data"],
        serde_json::from_str::<Value>(&logged).expect("a row")
    );
    assert_eq!(last["topic"], "operations");
    assert_eq!(last["revision"], last["data"]["revision"]);
    assert!(last["at"].as_str().is_some_and(|at| at.ends_with('Z')));
}

#[tokio::test]
async fn a_history_can_be_paged_both_ways() {
    let (_database, api) = worked().await;
    let path =
        |sort: &str, limit: u32| format!("operations/{}/events?sort={sort}&limit={limit}", id(1));
    let all = api.column(&path("id", 500), "events", "id").await;
    assert_eq!(all.len(), 5);
    let reversed: Vec<String> = all.iter().rev().cloned().collect();
    for limit in 1..=6 {
        assert_eq!(api.walk(&path("id", limit), "events", "id").await, all);
        assert_eq!(
            api.walk(&path("-id", limit), "events", "id").await,
            reversed
        );
    }
}

#[tokio::test]
async fn a_history_is_found_wherever_in_a_long_log_it_lies() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let api = Api::of(&database, 2).await;
    for (step, ids_from) in WORK
        .iter()
        .zip([1, 2, 3, 20_000, 20_010, 7_000_000, 7_000_001])
    {
        let from = format!("ALTER SEQUENCE bellwether.event_id RESTART WITH {ids_from}");
        execute(&client, &from).await;
        execute(&client, step).await;
    }
    for limit in [1, 2, 500] {
        let path = format!("operations/{}/events?sort=id&limit={limit}", id(1));
        assert_eq!(api.walk(&path, "events", "type").await, HISTORY);
        let path = format!("operations/{}/events?sort=-id&limit={limit}", id(1));
        let mut backwards = api.walk(&path, "events", "type").await;
        backwards.reverse();
        assert_eq!(backwards, HISTORY);
    }
}

#[tokio::test]
async fn an_operation_that_is_gone_still_has_its_history() {
    let (database, api) = worked().await;
    execute(&database.client().await, "DELETE FROM sync_operations").await;
    let path = format!("operations/{}/events", id(1));
    let kinds = api.column(&path, "events", "type").await;
    assert!(kinds.contains(&"operation.deleted".to_owned()), "{kinds:?}");
    assert_eq!(
        api.problem(&format!("operations/{}", id(1))).await["status"],
        404
    );
}

#[tokio::test]
async fn a_trimmed_log_says_from_when_on_it_is_complete() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let [created, created_too, then @ ..] = WORK;
    execute(&client, created).await;
    execute(&client, created_too).await;
    execute(
        &client,
        "UPDATE bellwether.event SET at = at - interval '2 hours'",
    )
    .await;
    // Moves the writers on to the next slot.
    value(&client, "SELECT bellwether.trim_log('1 hour')").await;
    for step in then {
        execute(&client, step).await;
    }
    trim(&client).await;
    let api = Api::of(&database, 2).await;
    let history = api.get(&format!("operations/{}/events", id(1))).await;
    assert_eq!(
        column_of(&history["events"], "type")[0],
        "operation.started"
    );
    let oldest = value(
        &client,
        "SELECT to_char(min(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') FROM bellwether.event",
    )
    .await;
    let complete_from = history["complete_from"].as_str().expect("an instant");
    assert!(
        oldest.starts_with(complete_from.trim_end_matches('Z')),
        "{complete_from} is not {oldest}"
    );

    execute(
        &client,
        "UPDATE bellwether.event SET at = at - interval '2 hours'",
    )
    .await;
    value(&client, "SELECT bellwether.trim_log('1 hour')").await;
    trim(&client).await;
    let history = api.get(&format!("operations/{}/events", id(1))).await;
    assert_eq!(
        history["events"],
        serde_json::json!([]),
        "known, but its history is gone"
    );
    assert!(history["complete_from"].as_str() > Some(complete_from));
}

/// Trims what is older than an hour; tests beside this one hold that up with their transactions.
async fn trim(client: &Client) {
    eventually("the log is trimmed", async || {
        value(client, "SELECT bellwether.trim_log('1 hour')").await != "0"
    })
    .await;
}

#[tokio::test]
async fn a_page_of_large_events_ends_early_and_nothing_is_left_out() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let operation = id(1);
    let large = format!(
        "INSERT INTO sync_operations (id, operation_type, metadata)
             VALUES ('{operation}', 'x', jsonb_build_object('x', repeat('x', 3 << 20)));
         DO $$BEGIN FOR n IN 1..6 LOOP UPDATE sync_operations SET message = 'm' || n; END LOOP; END$$"
    );
    execute(&client, &large).await;
    let api = Api::of(&database, 2).await;
    let path = format!("operations/{operation}/events?limit=500");
    let first = api.get(&path).await;
    assert_eq!(first["events"].as_array().expect("a list").len(), 3);
    let all = api.walk(&path, "events", "type").await;
    assert_eq!(all.len(), 7);
}
