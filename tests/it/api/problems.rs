//! What a client is told when something is wrong with its request, or with the database.

use std::str::FromStr;

use bellwether::postgres::DatabaseConfig;
use reqwest::Method;
use tokio::net::TcpListener;

use super::{Api, execute, id};
use crate::support::{PrivateServer, TestDatabase, eventually};

#[tokio::test]
async fn every_bad_parameter_is_refused_by_name_with_what_was_expected() {
    let database = TestDatabase::new().await;
    let api = Api::of(&database, 2).await;
    let long = format!("operations?owner={}", "x".repeat(513));
    let many = format!("operations?owner={}", "x,".repeat(1_001));
    let events = format!("operations/{}/events", id(1));
    let (event_sort, event_page) = (format!("{events}?sort=at"), format!("{events}?page=AQE"));
    let single = format!("operations/{}?limit=1", id(1));
    for (path, field, expected) in [
        (
            "operations?colour=red",
            "colour",
            "expected one of status, owner, operation_type, source, operation_id, created_after, created_before, q, active, sort, limit, page, format",
        ),
        ("operations?owner=a&owner=b", "owner", "more than once"),
        (
            "operations?status=running",
            "status",
            "expected one of pending, in_progress, paused, completed, failed, cancelled",
        ),
        (
            "operations?operation_id=7",
            "operation_id",
            "expected a UUID",
        ),
        (
            "operations?created_after=yesterday",
            "created_after",
            "expected an instant such as 2026-11-21T05:01:35Z",
        ),
        (
            "operations?created_before=2026-01-01T00:00:00+01:00",
            "created_before",
            "%2B",
        ),
        ("operations?active=yes", "active", "expected true or false"),
        ("operations?q=%00", "q", "zero"),
        (
            "operations?sort=message",
            "sort",
            "-created_at, created_at, -completed_at, completed_at, -updated_at, updated_at",
        ),
        (
            "operations?sort=completed_at&active=true",
            "sort",
            "active=true",
        ),
        ("operations?limit=0", "limit", "a number from 1 to 500"),
        ("operations?limit=501", "limit", "a number from 1 to 500"),
        ("operations?limit=-1", "limit", "a number from 1 to 500"),
        (
            "operations?limit=many&format=csv",
            "limit",
            "a number from 1",
        ),
        (
            "operations?limit=99999999999999999999&format=csv",
            "limit",
            "a number from 1",
        ),
        (
            "operations?format=xml",
            "format",
            "expected one of json, ndjson, csv",
        ),
        ("operations?page=forged", "page", "\"next\""),
        ("operations?page=%2A", "page", "\"next\""),
        (&long, "owner", "expected 512 at most"),
        (&many, "owner", "expected 1000 at most"),
        (
            "connections?status=paused",
            "status",
            "expected one of connected, disconnected, reconnecting, error",
        ),
        (
            "connections?source=web",
            "source",
            "expected one of app, relay",
        ),
        (
            "connections?owner=a",
            "owner",
            "expected one of status, source",
        ),
        (
            "snapshots?kind=odd",
            "kind",
            "expected one of scheduled, manual",
        ),
        ("snapshots?taken_after=1", "taken_after", "an instant"),
        (
            "snapshots?status=ill",
            "status",
            "healthy, warning, critical, active, idle",
        ),
        ("health?kind=manual", "kind", "expected none here"),
        (&event_sort, "sort", "expected one of id, -id"),
        (&event_page, "page", "\"next\""),
        (&single, "limit", "expected none here"),
    ] {
        let problem = api.problem(path).await;
        assert_eq!(problem["status"], 400, "{path}");
        assert_eq!(problem["field"], field, "{path}: {problem}");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(
            detail.starts_with(&format!("{field}: ")) && detail.contains(expected),
            "{path}: {detail}"
        );
    }
}

#[tokio::test]
async fn a_page_token_of_another_order_or_list_is_refused() {
    let database = TestDatabase::new().await;
    execute(
        &database.client().await,
        "INSERT INTO sync_operations (operation_type) SELECT 'x' FROM generate_series(1, 3)",
    )
    .await;
    let api = Api::of(&database, 2).await;
    let page = api.get("operations?limit=1").await;
    let next = page["next"].as_str().expect("more");
    for path in [
        "operations?sort=created_at",
        "operations?sort=-updated_at",
        "connections?sort=client_id",
        "snapshots?limit=1",
    ] {
        let problem = api.problem(&format!("{path}&page={next}")).await;
        assert_eq!(problem["field"], "page", "{path}");
    }
    api.get(&format!("operations?sort=-created_at&page={next}"))
        .await;
}

#[tokio::test]
async fn only_get_and_head_are_allowed_and_head_is_get_without_the_body() {
    let database = TestDatabase::new().await;
    execute(&database.client().await, "INSERT INTO sync_operations (id, operation_type) VALUES ('00000000-0000-0000-0000-000000000001', 'x')").await;
    let api = Api::of(&database, 2).await;
    let (single, events) = (
        format!("operations/{}", id(1)),
        format!("operations/{}/events", id(1)),
    );
    for path in [
        "operations",
        &*single,
        &*events,
        "connections",
        "health",
        "snapshots",
        "operations?format=csv",
    ] {
        let refused = api.send(Method::POST, path, &[]).await;
        assert_eq!(refused.status(), 405, "{path}");
        assert_eq!(refused.headers()["allow"], "GET, HEAD, OPTIONS");
        let get = api.ask(path).await;
        let head = api.send(Method::HEAD, path, &[]).await;
        assert_eq!(head.status(), 200, "{path}");
        for name in ["content-type", "cache-control", "vary", "content-length"] {
            assert_eq!(
                head.headers().get(name),
                get.headers().get(name),
                "{path}: {name}"
            );
        }
        assert_eq!(get.headers()["cache-control"], "no-store");
        assert_eq!(head.bytes().await.expect("no body"), "", "{path}");
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_a_passing_problem() {
    let server = PrivateServer::migrated().await;
    let api = Api::with(server.config().pool(2)).await;
    assert!(api.get("health").await["health"].is_null());
    drop(server);
    for path in [
        "health",
        "operations",
        "operations?format=csv",
        "connections",
        "snapshots",
    ] {
        let answer = api.ask(path).await;
        assert_eq!(answer.status(), 503, "{path}");
        let wait: u64 = answer.headers()["retry-after"]
            .to_str()
            .expect("text")
            .parse()
            .expect("seconds");
        assert!(wait > 0);
        let problem: serde_json::Value = answer.json().await.expect("a problem");
        assert_eq!(problem["status"], 503);
    }
}

#[tokio::test]
async fn a_database_that_never_answers_is_away_too() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let config = DatabaseConfig::from_str(&format!(
        "postgres://nobody@127.0.0.1:{port}/none?sslmode=disable"
    ))
    .expect("a URL");
    let api = Api::with(config.pool(1)).await;
    assert_eq!(api.problem("operations").await["status"], 503);
}

#[tokio::test]
async fn a_read_that_the_database_gives_up_says_that_it_took_too_long() {
    let database = TestDatabase::new().await;
    let (locker, observer) = (database.client().await, database.client().await);
    let api = Api::of(&database, 1).await;
    execute(&locker, "BEGIN; LOCK TABLE sync_status_snapshots").await;
    let waiting = async {
        eventually("a read waits for the lock", async || {
            let statement = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
            observer
                .query_one(statement, &[])
                .await
                .expect("a count")
                .get::<_, i64>(0)
                > 0
        })
        .await;
    };
    let (problem, ()) = tokio::join!(api.problem("health"), waiting);
    assert_eq!(problem["status"], 504);
    execute(&locker, "ROLLBACK").await;
    api.get("health").await;
}

#[tokio::test]
async fn slow_reads_leave_sessions_to_the_relays_own_jobs() {
    let database = TestDatabase::new().await;
    let (locker, observer) = (database.client().await, database.client().await);
    let api = Api::of(&database, 4).await;
    execute(&locker, "BEGIN; LOCK TABLE sync_status_snapshots").await;
    let slow = futures::future::join_all((0..6).map(|_| api.ask("health")));
    let watching = async {
        eventually("a read waits for the lock", async || {
            let statement = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let waiting = observer.query_one(statement, &[]).await.expect("a count");
            waiting.get::<_, i64>(0) > 0
        })
        .await;
        execute(&locker, "ROLLBACK").await;
    };
    let (answers, ()) = tokio::join!(slow, watching);
    let told = |answer: &reqwest::Response| answer.status().as_u16();
    assert!(
        answers
            .iter()
            .all(|answer| [200, 503].contains(&told(answer)))
    );
    // Sessions are made when they are needed: of four, two are for exports and one for the relay.
    assert_eq!(api.pool.status().size, 1);
}

/// The tables are replaced by views that say in which transaction they are read.
#[tokio::test]
async fn every_read_is_bounded_in_time_and_can_not_write() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "INSERT INTO sync_operations (operation_type) VALUES ('x');
         SELECT create_sync_status_snapshot();
         ALTER TABLE sync_operations RENAME TO hidden_operations;
         ALTER TABLE sync_status_snapshots RENAME TO hidden_snapshots;
         CREATE VIEW public.sync_operations AS SELECT *, current_setting('statement_timeout') AS bound, current_setting('transaction_read_only') AS only FROM hidden_operations;
         CREATE VIEW public.sync_status_snapshots AS SELECT *, current_setting('statement_timeout') AS bound, current_setting('transaction_read_only') AS only FROM hidden_snapshots",
    )
    .await;
    let api = Api::of(&database, 1).await;
    let operations = api.get("operations").await;
    let operation = &operations["operations"][0];
    let single = api
        .get(&format!(
            "operations/{}",
            operation["id"].as_str().expect("an id")
        ))
        .await;
    let health = &api.get("health").await["health"];
    for row in [operation, &single, health] {
        assert_eq!((&row["bound"], &row["only"]), (&"10s".into(), &"on".into()));
    }
    let exported: serde_json::Value =
        serde_json::from_str(&api.text("operations?format=ndjson").await).expect("a row");
    assert_eq!(
        (&exported["bound"], &exported["only"]),
        (&"5min".into(), &"on".into())
    );
    let session = api.pool.get().await.expect("a session");
    let left: String = session
        .query_one("SHOW statement_timeout", &[])
        .await
        .expect("a setting")
        .get(0);
    assert_ne!(left, "5min", "the session's own setting is back");
}
