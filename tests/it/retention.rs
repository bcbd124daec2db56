//! That the event log is trimmed as asked, and that nobody who writes notices.

use tokio_postgres::Client;

use crate::support::{TestDatabase, eventually};

const WRITE: &str =
    "INSERT INTO sync_operations (operation_type) SELECT 'x' FROM generate_series(1, 100)";
const AGE: &str = "UPDATE bellwether.event SET at = at - interval '2 hours'";

async fn run(client: &Client, statements: &str) {
    client.batch_execute(statements).await.expect(statements);
}

async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.expect(query).get(0)
}

async fn events(client: &Client) -> i64 {
    number(client, "SELECT count(*) FROM bellwether.event").await
}

async fn trim(client: &Client, arguments: &str) -> i64 {
    number(client, &format!("SELECT bellwether.trim_log({arguments})")).await
}

/// Trims until something was; other tests' open transactions may hold it up.
async fn trim_at_last(client: &Client, arguments: &str) {
    eventually("the log is trimmed", async || {
        trim(client, arguments).await > 0
    })
    .await;
}

/// A log with a hundred old events in a slot that is no longer written to.
async fn with_old_events() -> (TestDatabase, Client) {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    run(&client, WRITE).await;
    run(&client, AGE).await;
    assert_eq!(trim(&client, "'1 hour'").await, 0, "it is still written to");
    assert_eq!(events(&client).await, 100);
    (database, client)
}

#[tokio::test]
async fn what_is_old_goes_and_what_is_not_stays() {
    let (_database, client) = with_old_events().await;
    run(&client, WRITE).await;
    trim_at_last(&client, "'1 hour'").await;
    assert_eq!(events(&client).await, 100, "the new ones");
    assert_eq!(
        number(&client, "SELECT count(*) FROM bellwether.log WHERE trimmed_through > '0' AND trimmed_through < (SELECT min(xid::text)::xid8 FROM bellwether.event)").await,
        1
    );
    assert_eq!(trim(&client, "'1 hour'").await, 0);
    assert_eq!(events(&client).await, 100);
}

#[tokio::test]
async fn a_log_goes_round_its_slots_for_ever() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    for _ in 0..10 {
        run(&client, WRITE).await;
        run(&client, AGE).await;
        eventually("old events go", async || {
            trim(&client, "'1 hour'").await;
            events(&client).await <= 100
        })
        .await;
    }
    assert!(number(&client, "SELECT last_value FROM bellwether.event_slot").await >= 8);
}

#[tokio::test]
async fn a_log_that_is_too_large_loses_its_oldest_events_but_not_those_of_the_last_minute() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    run(&client, WRITE).await;
    assert_eq!(
        trim(&client, "'7 days', 1").await,
        0,
        "moves the writers on"
    );
    run(&client, WRITE).await;
    assert_eq!(trim(&client, "'7 days', 1").await, 0, "all of it is new");
    run(
        &client,
        "UPDATE bellwether.event SET at = at - interval '5 minutes'",
    )
    .await;
    assert_eq!(
        trim(&client, "'7 days', 1000000000").await,
        0,
        "there is room"
    );
    trim_at_last(&client, "'7 days', 1").await;
    assert!(events(&client).await < 200);
}

#[tokio::test]
async fn a_reader_or_an_open_writer_holds_trimming_up_and_no_writer_is_held_up_by_it() {
    let database = TestDatabase::new().await;
    let (client, other, third) = (
        database.client().await,
        database.client().await,
        database.client().await,
    );
    run(&client, WRITE).await;
    // One that wrote to the slot and is still open when everybody else has moved on.
    run(
        &other,
        "BEGIN; INSERT INTO sync_operations (operation_type) VALUES ('late')",
    )
    .await;
    run(&client, AGE).await;
    trim(&client, "'1 hour'").await;
    assert_eq!(trim(&client, "'1 hour'").await, 0);
    // While trimming holds all that it takes, in a transaction that stays open.
    run(&third, "BEGIN; SELECT bellwether.trim_log('1 hour', 1)").await;
    run(&client, &format!("SET lock_timeout = '1s'; {WRITE}")).await;
    run(
        &other,
        "INSERT INTO sync_operations (operation_type) VALUES ('later'); COMMIT",
    )
    .await;
    run(&third, "ROLLBACK").await;
    assert_eq!(events(&client).await, 202);

    run(&other, "BEGIN; SELECT count(*) FROM bellwether.event").await;
    assert_eq!(trim(&client, "'0'").await, 0, "somebody reads");
    run(
        &other,
        "COMMIT; BEGIN; LOCK TABLE bellwether.event IN ACCESS SHARE MODE",
    )
    .await;
    assert_eq!(trim(&client, "'0'").await, 0, "somebody is about to");
    run(&other, "COMMIT").await;
    trim_at_last(&client, "'0'").await;
    run(&third, "BEGIN; SELECT bellwether.trim_log('0')").await;
    run(&client, WRITE).await;
    run(&third, "COMMIT").await;
}

#[tokio::test]
async fn nonsense_is_refused_by_the_name_of_the_argument() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    for (arguments, named) in [
        ("NULL", "older_than: "),
        ("'-1 day'", "older_than: "),
        ("'1 day', -1", "larger_than: "),
    ] {
        let refused = client
            .batch_execute(&format!("SELECT bellwether.trim_log({arguments})"))
            .await
            .expect_err("refused");
        let refused = refused.as_db_error().expect("by the database");
        assert!(refused.message().starts_with(named), "{refused}");
    }
}
