//! The upkeep of the index that finds an operation's events.

use tokio_postgres::Client;

use super::{execute, value};
use crate::support::TestDatabase;

const FILL: &str = "INSERT INTO bellwether.event (topic, type, entity, revision, payload)
    SELECT 'operations', 'operation.progress', 'entity ' || n % 1000, n, json_build_object('pad', repeat(md5(n::text), 30))
    FROM generate_series(1, 6000) AS n";

async fn summarize(client: &Client) -> u32 {
    let count = value(client, "SELECT bellwether.summarize_event_index()").await;
    count.parse().expect("a count")
}

/// How many events of an entity the index finds.
async fn found(client: &Client) -> String {
    execute(
        client,
        "SET enable_seqscan = off; SET enable_indexscan = off",
    )
    .await;
    value(
        client,
        "SELECT count(*) FROM bellwether.event WHERE entity = 'entity 7'",
    )
    .await
}

#[tokio::test]
async fn the_index_finds_every_event_before_during_and_after_its_upkeep() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    assert_eq!(
        summarize(&client).await,
        0,
        "an empty log has nothing to summarise"
    );
    execute(&client, FILL).await;
    assert_eq!(found(&client).await, "6", "not summarised yet");
    let ranges = summarize(&client).await;
    assert!(ranges > 10, "{ranges}");
    assert_eq!(summarize(&client).await, 0, "there is nothing new");
    assert_eq!(found(&client).await, "6");
    execute(&client, "TRUNCATE bellwether.event_0").await;
    execute(&client, "SELECT nextval('bellwether.event_slot')").await;
    execute(&client, FILL).await;
    assert_eq!(found(&client).await, "6", "in the next slot");
    assert!(summarize(&client).await > 10);
    assert_eq!(found(&client).await, "6");
}

#[tokio::test]
async fn upkeep_gives_way_to_a_vacuum_and_to_another_relay_and_never_stops_a_writer() {
    let database = TestDatabase::new().await;
    let (client, other) = (database.client().await, database.client().await);
    execute(&client, FILL).await;
    // What a vacuum holds.
    execute(
        &other,
        "BEGIN; LOCK TABLE bellwether.event_0 IN SHARE UPDATE EXCLUSIVE MODE",
    )
    .await;
    assert_eq!(summarize(&client).await, 0);
    execute(&other, "ROLLBACK").await;
    execute(&other, "BEGIN; SELECT bellwether.summarize_event_index()").await;
    assert_eq!(summarize(&client).await, 0);
    execute(
        &client,
        "SET lock_timeout = '1s'; INSERT INTO sync_operations (operation_type) VALUES ('x')",
    )
    .await;
    execute(&other, "COMMIT").await;
}

#[tokio::test]
async fn upkeep_is_for_the_relay_alone() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let allowed =
        "SELECT has_function_privilege('public', 'bellwether.summarize_event_index()', 'EXECUTE')";
    assert_eq!(value(&client, allowed).await, "false");
}
