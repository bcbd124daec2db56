//! A row as subscribers get it is the row as PostgreSQL itself would write it in JSON.

use serde_json::Value;

use crate::support::TestDatabase;
use crate::support::relay::Relay;

/// Events about operations with values that are hard to write: the least and the greatest of each type, and many at random.
/// Straight into the log, since no rule of the table lets most of them through.
const STRANGE_ROWS: &str = r#"
    SELECT setseed(0.5);
    INSERT INTO bellwether.event (topic, type, entity, revision, operation)
    SELECT 'operations', 'operation.progress', n, n, ROW(
        gen_random_uuid(),
        texts[1 + n % 7], texts[1 + n / 2 % 7],
        numbers[1 + n % 15], texts[1 + n / 3 % 7], NULL,
        bigints[1 + n % 6], bigints[1 + n / 2 % 6], 0, 1, 2, 3, 4, 5,
        documents[1 + n % 5], documents[1 + n / 2 % 5], texts[1 + n / 4 % 7], texts[1 + n / 5 % 7], NULL,
        instants[1 + n % 13], instants[1 + n / 2 % 13], instants[1 + n / 3 % 13], clock_timestamp(),
        '2000-01-01+00'::timestamptz + (random() - 0.5) * interval '10000 years', clock_timestamp() + random() * interval '1 year',
        (random() * 10 ^ (random() * 30 - 15))::numeric,
        CASE n % 4 WHEN 0 THEN reals[1 + n % 11] WHEN 1 THEN 2406 + n / 64.0 WHEN 2 THEN 2 ^ (n / 16 - 125) ELSE random() * 10 ^ (random() * 60 - 30) END::real,
        NULL, texts[1 + n / 6 % 7], documents[1 + n / 3 % 5], documents[1 + n / 4 % 5], n, bigints[1 + n / 3 % 6], documents[1 + n / 2 % 5])::bellwether.operation
    FROM generate_series(0, 3999) n, (SELECT
        ARRAY['', 'plain', E'\x01\t\n\r\x1F"quoted" \\ \x7F', 'schöne Grüße, 世界 🐑', '</script>', repeat('long ', 1000), NULL] AS texts,
        ARRAY[0, 1, -1, 0.5, -0.05, 100.00, 1e-20, 1e40, 12345678.90123, 10000, 9999.9999, 0.0000, 'NaN', 'Infinity', '-Infinity']::numeric[] AS numbers,
        ARRAY[0, 1, -1, 9223372036854775807, -9223372036854775808, NULL]::bigint[] AS bigints,
        ARRAY['{}', '{"a": {"b": [1, 2.50, null, true]}}', '[]', '"text \u00e4"', NULL]::jsonb[] AS documents,
        ARRAY['2000-01-01+00', '1999-12-31 23:59:59.999999+00', '2024-02-29 12:00:00.5+00', '1900-03-01+00', '2100-02-28 00:00:00.000001+00',
              '0001-01-01+00', '0001-12-31 12:00+00 BC', '4713-01-01 00:00+00 BC', '9999-12-31 23:59:59+00', '10000-01-01+00', '294276-12-31 23:59:59.999999+00',
              'infinity', '-infinity']::timestamptz[] AS instants,
        ARRAY[0, 1, -1.5, 0.1, 1e30, 1e-30, 3.4028235e38, 1.4e-45, 'NaN', 'Infinity', '-Infinity']::real[] AS reals) AS list;
    INSERT INTO sync_operations (operation_type) VALUES ('the last one');
"#;

#[tokio::test]
async fn a_row_is_the_same_json_whoever_writes_it() {
    let database = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &["--subscriber-bytes", "100000000"]).await;
    let mut subscriber = relay.subscribe("topics=operations&mode=every").await;
    subscriber.frame("snapshot").await;
    let client = database.client().await;
    client.batch_execute(STRANGE_ROWS).await.expect("rows");
    let events = subscriber
        .events_until(|event| event["data"]["operation_type"] == "the last one")
        .await;
    assert_eq!(events.len(), 4_001);

    let rows = "SELECT bellwether.row_in_utc(operation)::text FROM bellwether.event WHERE topic = 'operations' ORDER BY id";
    for (row, event) in client
        .query(rows, &[])
        .await
        .expect("rows")
        .iter()
        .zip(&events)
    {
        let expected: Value = serde_json::from_str(row.get(0)).expect("JSON");
        assert_eq!(event["data"], expected);
    }
}

#[tokio::test]
async fn a_column_that_a_later_version_adds_travels_while_the_relay_runs() {
    let database = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let mut subscriber = relay.subscribe("topics=operations&mode=every").await;
    subscriber.frame("snapshot").await;
    let client = database.client().await;
    for (column, value) in [
        ("priority bigint", "7"),
        ("shares double precision[]", "'{0.5}'"),
    ] {
        let name = column.split(' ').next().expect("a name");
        client
            .batch_execute(&format!(
                "BEGIN; ALTER TYPE bellwether.operation ADD ATTRIBUTE {column}; ALTER TABLE sync_operations ADD COLUMN {column}; COMMIT;
                 INSERT INTO sync_operations (operation_type, {name}) VALUES ('with {name}', {value});
                 DO $$BEGIN ASSERT (SELECT bool_and(payload IS NULL) FROM bellwether.event WHERE topic = 'operations'); END$$"
            ))
            .await
            .expect("altered");
        let wanted = format!("with {name}");
        let events = subscriber
            .events_until(|event| event["data"]["operation_type"] == wanted.as_str())
            .await;
        let event = events.last().expect("an event");
        assert!(!event["data"][name].is_null(), "{event}");
    }
    client
        .batch_execute("UPDATE sync_operations SET message = 'seen'")
        .await
        .expect("updated");
    let events = subscriber
        .events_until(|event| {
            event["data"]["operation_type"] == "with shares" && event["data"]["message"] == "seen"
        })
        .await;
    assert_eq!(events[1]["data"]["shares"], serde_json::json!([0.5]));
}
