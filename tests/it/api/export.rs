//! Lists as files.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::Value;

use super::{Api, execute, id, value, values};
use crate::support::{TestDatabase, eventually};

/// Operations without the cost of triggers.
async fn fill(database: &TestDatabase, rows: u32) {
    let client = database.client().await;
    execute(
        &client,
        &format!(
            "SET session_replication_role = replica;
             INSERT INTO sync_operations (operation_type, message, created_at)
             SELECT 'import', repeat(md5(n::text), 8), timestamptz '2026-01-01' + n % 1000 * interval '1 second' FROM generate_series(1, {rows}) AS n"
        ),
    )
    .await;
}

#[tokio::test]
async fn a_table_as_csv_has_all_its_columns() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let api = Api::of(&database, 2).await;
    execute(&client, "INSERT INTO sync_operations (id, operation_type) VALUES ('00000000-0000-0000-0000-000000000001', 'x')").await;
    let errors = format!("operations/{}/errors", id(1));
    for (path, table, more) in [
        ("operations", "sync_operations", &["stalled_since"][..]),
        ("connections", "connection_status", &[]),
        ("snapshots", "sync_status_snapshots", &[]),
        (&errors, "sync_operation_errors", &[]),
    ] {
        let mut columns = values(
            &client,
            &format!("SELECT attname::text FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"),
        )
        .await;
        columns.extend(more.iter().map(|column| (*column).to_owned()));
        let text = api.text(&format!("{path}?format=csv")).await;
        assert_eq!(text.lines().next(), Some(&*columns.join(",")), "{path}");
        let lines = text.lines().count();
        assert_eq!(lines, if path == "operations" { 2 } else { 1 }, "{path}");
    }
}

#[tokio::test]
async fn a_file_says_what_it_is_and_how_it_is_called() {
    let database = TestDatabase::new().await;
    let api = Api::of(&database, 2).await;
    for (path, accept, kind, ending) in [
        (
            "operations?format=csv",
            "*/*",
            "text/csv; charset=utf-8",
            ".csv",
        ),
        ("connections", "text/csv", "text/csv; charset=utf-8", ".csv"),
        (
            "snapshots?format=ndjson",
            "text/csv",
            "application/x-ndjson",
            ".ndjson",
        ),
        (
            "operations",
            "application/x-ndjson, */*;q=0.5",
            "application/x-ndjson",
            ".ndjson",
        ),
    ] {
        let answer = api.send(Method::GET, path, &[("accept", accept)]).await;
        assert_eq!(answer.headers()["content-type"], kind, "{path}");
        let vary: Vec<_> = answer.headers().get_all("vary").iter().collect();
        assert!(vary.iter().any(|name| *name == "Accept"), "{vary:?}");
        let name = answer.headers()["content-disposition"]
            .to_str()
            .expect("text");
        let list = path.split('?').next().expect("a list");
        assert!(
            name.starts_with(&format!("attachment; filename=\"{list}-")),
            "{name}"
        );
        assert!(name.ends_with(&format!("{ending}\"")), "{name}");
    }
    let answer = api
        .send(
            Method::GET,
            "operations?format=json",
            &[("accept", "text/csv")],
        )
        .await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert!(answer.headers().get("content-disposition").is_none());
}

#[tokio::test]
async fn an_export_has_every_row_once_with_the_filters_the_order_and_the_limit_of_the_list() {
    let database = TestDatabase::new().await;
    fill(&database, 5_000).await;
    let client = database.client().await;
    execute(
        &client,
        "UPDATE sync_operations SET owner = 'alice' WHERE created_at < '2026-01-01T00:01:00Z'",
    )
    .await;
    let api = Api::of(&database, 2).await;
    let ids = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).expect("a row")["id"]
                    .as_str()
                    .expect("an id")
                    .to_owned()
            })
            .collect()
    };
    let all = ids(&api.text("operations?format=ndjson").await);
    assert_eq!(
        all,
        values(
            &client,
            "SELECT id::text FROM sync_operations ORDER BY created_at DESC, id DESC"
        )
        .await
    );
    let csv = api.text("operations?format=csv").await;
    let csv: HashSet<&str> = csv
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().expect("an id"))
        .collect();
    assert_eq!(csv, all.iter().map(String::as_str).collect());

    assert_eq!(
        ids(&api
            .text("operations?format=ndjson&owner=alice&sort=created_at")
            .await)
        .len(),
        300
    );
    assert_eq!(
        ids(&api.text("operations?format=ndjson&limit=777").await),
        all[..777]
    );
    let page = api.get("operations?limit=500").await;
    let next = page["next"].as_str().expect("more");
    assert_eq!(
        ids(&api
            .text(&format!("operations?format=ndjson&page={next}"))
            .await),
        all[500..]
    );
}

#[tokio::test]
async fn numbers_keep_every_digit_and_texts_that_a_spreadsheet_would_run_are_marked() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "INSERT INTO sync_operations (operation_type, message, owner, total_items, progress, metadata) VALUES
         ('=HYPERLINK(1)', E'a \"quoted\"\\nline', 'Zoë, the 1st', 9007199254740993, 12.345678901234567890, '{\"a\": \"=1\"}')",
    )
    .await;
    let api = Api::of(&database, 2).await;
    let text = api.text("operations?format=csv").await;
    for expected in [
        "'=HYPERLINK(1)",
        "\"a \"\"quoted\"\"\nline\"",
        "\"Zoë, the 1st\"",
        ",9007199254740993,",
        ",12.345678901234567890,",
        "\"{\"\"a\"\": \"\"=1\"\"}\"",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    let exact = api.text("operations?format=ndjson").await;
    assert!(
        exact.contains(r#""operation_type":"=HYPERLINK(1)""#)
            && exact.contains("12.345678901234567890")
    );
}

#[tokio::test]
async fn an_export_that_breaks_half_way_does_not_end_as_if_it_were_complete() {
    let database = TestDatabase::new().await;
    fill(&database, 20_000).await;
    let client = database.client().await;
    let api = Api::of(&database, 2).await;
    let mut answer = api.ask("operations?format=csv").await;
    assert_eq!(answer.status(), 200);
    let mut received = answer
        .chunk()
        .await
        .expect("a piece")
        .expect("a piece")
        .len();
    // More is to come than fits between the two ends, so the export is waiting for this client.
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'idle in transaction'";
    eventually("the export's session is ended", async || {
        value(&client, terminate).await == "1"
    })
    .await;
    let outcome = loop {
        match answer.chunk().await {
            Ok(Some(piece)) => received += piece.len(),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(outcome.is_err(), "{received} bytes look like a whole file");
    assert_eq!(
        api.text("operations?format=csv").await.lines().count(),
        20_001,
        "the next one is whole"
    );
}

#[tokio::test]
async fn a_client_that_leaves_an_export_leaves_nothing_behind() {
    let database = TestDatabase::new().await;
    fill(&database, 20_000).await;
    let client = database.client().await;
    let api = Api::of(&database, 1).await;
    let mut answer = api.ask("operations?format=ndjson").await;
    answer.chunk().await.expect("a piece").expect("a piece");
    let in_transaction = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'bellwether' AND xact_start IS NOT NULL";
    assert_eq!(value(&client, in_transaction).await, "1");
    drop(answer);
    eventually("the transaction has ended", async || {
        value(&client, in_transaction).await == "0"
    })
    .await;
    assert_eq!(
        api.get("operations?limit=1").await["operations"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn exports_leave_sessions_to_everyone_else() {
    let database = TestDatabase::new().await;
    fill(&database, 20_000).await;
    let api = Api::of(&database, 3).await;
    let running = api.ask("operations?format=ndjson").await;
    let refused = api.ask("operations?format=csv").await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    api.get("operations").await;
    drop(running);
    eventually("another export may run", async || {
        api.ask("operations?format=csv&limit=1").await.status() == 200
    })
    .await;
}
