//! Statistics of a span of time: exact figures, at their edges, and the same as SQL gives.

use serde_json::{Value, json};

use super::{Api, execute};
use crate::support::TestDatabase;

/// An hour of one day with two types and two owners. `long` began before the hour, `late` ends after it, `running` and
/// `paused` have not ended, `back to back` begins at the very instant at which `short` ends.
const FIXTURE: &str = "
    INSERT INTO sync_operations (operation_type, owner, message, status, created_at, started_at, completed_at)
    SELECT type, owner, name, status, '2026-03-01T00:00:00Z', day + began::interval, day + ended::interval
    FROM (SELECT timestamptz '2026-03-01T00:00:00Z' AS day) AS start, (VALUES
        ('upload', 'ann', 'long',         'completed',   '09:00:00', '10:10:00'),
        ('upload', 'ann', 'short',        'completed',   '10:05:00', '10:06:00'),
        ('upload', 'bob', 'back to back', 'failed',      '10:06:00', '10:07:00'),
        ('upload', 'bob', 'cancelled',    'cancelled',   '10:08:00', '10:09:00'),
        ('upload', 'ann', 'late',         'completed',   '10:59:00', '11:00:00'),
        ('delete', 'ann', 'running',      'in_progress', '10:30:00', NULL),
        ('delete', 'bob', 'paused',       'paused',      '09:30:00', NULL),
        ('delete', 'bob', 'waiting',      'pending',     NULL,       NULL),
        ('never',  'bob', 'too early',    'completed',   '08:00:00', '09:59:59'),
        ('never',  'bob', 'too late',     'completed',   '11:00:00', '11:30:00'),
        ('born',   'ann', 'no start',     'completed',   NULL,       '10:00:00')
    ) AS run (type, owner, name, status, began, ended)";
const HOUR: &str = "statistics?since=2026-03-01T10:00:00Z&until=2026-03-01T11:00:00Z";

/// The figures in the order of the documentation.
fn figures(of: &Value) -> Value {
    let names = [
        "started",
        "completed",
        "failed",
        "cancelled",
        "success_rate",
        "duration_seconds_average",
        "duration_seconds_p95",
        "peak_concurrency",
    ];
    names.map(|name| of[name].clone()).into_iter().collect()
}

async fn fixture() -> (TestDatabase, Api) {
    let database = TestDatabase::new().await;
    execute(&database.client().await, FIXTURE).await;
    let api = Api::of(&database, 1).await;
    (database, api)
}

#[tokio::test]
async fn a_span_includes_its_beginning_and_excludes_its_end() {
    let (_database, api) = fixture().await;
    let told = api.get(HOUR).await;
    assert_eq!(told["since"], "2026-03-01T10:00:00+00:00");
    assert_eq!(told["until"], "2026-03-01T11:00:00+00:00");
    assert_eq!(told["operation_types"], 3);
    let types: Vec<(&Value, Value)> = told["by_operation_type"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|of| (&of["operation_type"], figures(of)))
        .collect();
    // The durations are 4,200 s, 60 s and 60 s; at 95 % of the way: 60 + 0.9 * 4,140.
    let upload = json!([4, 2, 1, 1, 2.0 / 3.0, 1440.0, 3786.0, 3]);
    assert_eq!(
        types,
        [
            (&json!("upload"), upload),
            (&json!("born"), json!([0, 1, 0, 0, 1, null, null, 0])),
            (&json!("delete"), json!([1, 0, 0, 0, null, null, null, 2])),
        ]
    );
    // At 10:06 `long`, `short`, `back to back` and `paused` ran; `running` came when three of them had ended.
    assert_eq!(
        figures(&told["total"]),
        json!([5, 3, 1, 1, 0.75, 1440.0, 3786.0, 4])
    );
}

#[tokio::test]
async fn statistics_are_narrowed_to_types_and_owners() {
    let (_database, api) = fixture().await;
    let told = api.get(&format!("{HOUR}&owner=bob")).await;
    assert_eq!(
        figures(&told["total"]),
        json!([2, 0, 1, 1, 0, 60.0, 60.0, 2])
    );
    let told = api
        .get(&format!("{HOUR}&operation_type=delete,born&owner=ann,bob"))
        .await;
    assert_eq!(
        figures(&told["total"]),
        json!([1, 1, 0, 0, 1, null, null, 2])
    );
    let none = api.get(&format!("{HOUR}&operation_type=none")).await;
    assert_eq!(none["by_operation_type"], json!([]));
    assert_eq!(none["operation_types"], 0);
    assert_eq!(
        figures(&none["total"]),
        json!([0, 0, 0, 0, null, null, null, 0])
    );
}

#[tokio::test]
async fn without_a_span_the_last_24_hours_are_told() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "INSERT INTO sync_operations (operation_type, status, started_at, completed_at) VALUES
             ('x', 'completed', now() - interval '26 hours', now() - interval '23 hours'),
             ('x', 'completed', now() - interval '26 hours', now() - interval '25 hours');
         INSERT INTO sync_operations (operation_type, status) VALUES ('x', 'in_progress')",
    )
    .await;
    let api = Api::of(&database, 1).await;
    let told = api.get("statistics").await;
    let expected = json!([1, 1, 0, 0, 1, 10800.0, 10800.0, 1]);
    assert_eq!(figures(&told["total"]), expected);
    let span = client
        .query_one(
            "SELECT ($2::text::timestamptz - $1::text::timestamptz)::text",
            &[&told["since"].as_str(), &told["until"].as_str()],
        )
        .await
        .expect("a span");
    assert_eq!(span.get::<_, String>(0), "1 day");
    let plain = client
        .query_one("SELECT started, completed, peak_concurrency FROM sync_statistics() WHERE operation_type IS NULL", &[])
        .await
        .expect("the total");
    let plain: (i64, i64, i64) = (plain.get(0), plain.get(1), plain.get(2));
    assert_eq!(plain, (1, 1, 1), "a DBA gets the same");
}

#[tokio::test]
async fn a_span_that_ends_before_it_begins_is_refused_and_a_strange_one_is_not() {
    let (_database, api) = fixture().await;
    for query in [
        "since=2026-03-01T10:00:00Z&until=2026-03-01T10:00:00Z",
        "since=2026-03-01T11:00:00Z&until=2026-03-01T10:00:00Z",
        "since=9000-01-01T00:00:00Z",
    ] {
        let problem = api.problem(&format!("statistics?{query}")).await;
        assert_eq!(problem["field"], "since", "{query}: {problem}");
    }
    assert_eq!(api.problem("statistics?until=noon").await["field"], "until");
    api.get("statistics?until=0001-01-01T00:00:00Z").await;
    let all = api
        .get("statistics?since=-009999-01-02T02:00:00Z&until=9999-12-30T00:00:00Z")
        .await;
    assert_eq!(all["total"]["started"], 9);
}

#[tokio::test]
async fn no_more_than_a_thousand_types_are_told_one_by_one_and_it_is_said_how_many_there_are() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "INSERT INTO sync_operations (operation_type, status) SELECT 'type ' || n, 'in_progress' FROM generate_series(1, 1003) AS n, generate_series(1, CASE n WHEN 700 THEN 2 ELSE 1 END)",
    )
    .await;
    let told = Api::of(&database, 1).await.get("statistics").await;
    let types = told["by_operation_type"].as_array().expect("a list");
    assert_eq!(
        (types.len(), &told["operation_types"]),
        (1000, &json!(1003))
    );
    assert_eq!(
        types[0]["operation_type"], "type 700",
        "the most come first"
    );
    assert_eq!(told["total"]["peak_concurrency"], 1004);
}
