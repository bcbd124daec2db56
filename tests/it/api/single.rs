//! One operation, and the present health.

use super::{Api, execute, id};
use crate::support::TestDatabase;

#[tokio::test]
async fn an_operation_comes_with_its_newest_errors_and_how_many_there_are() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "INSERT INTO sync_operations (id, operation_type, message) VALUES
            ('00000000-0000-0000-0000-000000000001', 'upload', 'say \"}\"'), ('00000000-0000-0000-0000-000000000002', 'upload', NULL);
         SELECT record_sync_error('00000000-0000-0000-0000-000000000001', 'error ' || n) FROM generate_series(1, 102) AS n",
    )
    .await;
    let api = Api::of(&database, 2).await;
    let operation = api.get(&format!("operations/{}", id(1))).await;
    assert_eq!(operation["id"], id(1));
    assert_eq!(operation["message"], "say \"}\"");
    assert_eq!(operation["errors_total"], 102);
    let errors = operation["errors"].as_array().expect("errors");
    assert_eq!(errors.len(), 100);
    assert_eq!(errors[0]["message"], "error 102");
    assert_eq!(errors[99]["message"], "error 3");
    assert_eq!(errors[0]["operation_id"], id(1));

    let spotless = api
        .get(&format!("operations/{}", id(2).to_uppercase()))
        .await;
    assert_eq!(spotless["errors"], serde_json::json!([]));
    assert_eq!(spotless["errors_total"], 0);

    let path = format!("operations/{}/errors?limit=25", id(1));
    let all = api.walk(&path, "errors", "message").await;
    let expected: Vec<String> = (1..=102).rev().map(|n| format!("error {n}")).collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn an_unknown_operation_is_not_found_and_no_uuid_is_a_bad_request() {
    let database = TestDatabase::new().await;
    let api = Api::of(&database, 2).await;
    for rest in ["", "/errors", "/events", "/errors?format=csv"] {
        let problem = api.problem(&format!("operations/{}{rest}", id(9))).await;
        assert_eq!(problem["status"], 404, "{rest}");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(&id(9)))
        );
        let problem = api.problem(&format!("operations/seven{rest}")).await;
        assert_eq!(problem["status"], 400, "{rest}");
        assert_eq!(problem["field"], "id");
        assert_eq!(problem["detail"], "id: \"seven\" given; expected a UUID");
    }
}

#[tokio::test]
async fn health_is_the_latest_snapshot_of_any_kind_and_null_before_the_first() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let api = Api::of(&database, 2).await;
    assert_eq!(
        api.get("health").await,
        serde_json::json!({ "health": null, "age_ms": null })
    );
    execute(
        &client,
        "SELECT create_sync_status_snapshot() FROM generate_series(1, 3);
         UPDATE sync_status_snapshots SET taken_at = clock_timestamp() - id * interval '1 hour'",
    )
    .await;
    let health = api.get("health").await;
    assert_eq!(health["health"]["id"], 1, "the newest, not the last made");
    let age = health["age_ms"].as_i64().expect("an age");
    assert!((3_600_000..7_200_000).contains(&age), "{age}");
    execute(
        &client,
        "UPDATE sync_status_snapshots SET taken_at = clock_timestamp() + interval '1 hour' WHERE id = 2",
    )
    .await;
    let health = api.get("health").await;
    assert_eq!(health["health"]["id"], 2);
    assert_eq!(health["age_ms"], 0, "clocks jump; an age is not negative");
}
