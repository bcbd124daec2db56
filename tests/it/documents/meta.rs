//! The documents themselves: that they are what they say they are, and say what the database says.

use serde_json::Value;

use super::{Schemas, assert_valid};
use crate::support::TestDatabase;
use crate::support::relay::Relay;

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[tokio::test]
async fn the_documents_are_openapi_asyncapi_and_json_schema() {
    let database = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &[]).await;
    for (path, meta) in [
        ("openapi", include_str!("meta/openapi-3.1.json")),
        ("asyncapi", include_str!("meta/asyncapi-3.0.json")),
    ] {
        let document: Value = relay
            .get(&format!("/api/{path}.json"))
            .await
            .json()
            .await
            .expect("a document");
        let meta = jsonschema::validator_for(&parsed(meta)).expect("a meta schema");
        assert_valid(&meta, &document, path);
        for schema in document["components"]["schemas"]
            .as_object()
            .expect("schemas")
            .values()
        {
            jsonschema::meta::validate(schema).expect("a schema");
        }
    }
    let schema: Value = relay
        .get("/api/schema.json")
        .await
        .json()
        .await
        .expect("a schema");
    jsonschema::meta::validate(&schema).expect("a schema of 2020-12");
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
}

#[test]
fn a_field_that_is_not_described_is_found() {
    let schemas = Schemas::strict(
        parsed(include_str!("../../../docs/api/schema.json")),
        "/$defs",
    );
    let pong = schemas.named("Pong");
    assert!(pong.is_valid(&serde_json::json!({ "type": "pong" })));
    assert!(!pong.is_valid(&serde_json::json!({ "type": "pong", "more": 1 })));
    let recorded = schemas.named("RecordedError");
    let mut row = serde_json::json!({ "id": 1, "operation_id": "00000000-0000-0000-0000-000000000001", "item": null, "message": "m",
        "code": null, "details": {}, "occurred_at": "2026-01-01T00:00:00Z", "revision": 1, "owner": null });
    assert_valid(&recorded, &row, "an error with an owner");
    assert!(
        !schemas.named("OperationError").is_valid(&row),
        "a row has none"
    );
    row["more"] = 1.into();
    assert!(!recorded.is_valid(&row));
}

#[tokio::test]
async fn every_column_is_described_as_in_the_database() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let schema = parsed(include_str!("../../../docs/api/schema.json"));
    for (table, definition) in [
        ("sync_operations", "Operation"),
        ("sync_operation_errors", "OperationError"),
        ("connection_status", "Connection"),
        ("sync_status_snapshots", "HealthSnapshot"),
    ] {
        let columns = client
            .query(
                "SELECT attname::text, attnotnull, col_description(attrelid, attnum) FROM pg_attribute
                 WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                &[&table],
            )
            .await
            .expect("columns");
        assert!(!columns.is_empty());
        for column in columns {
            let (name, required, comment): (String, bool, String) =
                (column.get(0), column.get(1), column.get(2));
            let property = &schema["$defs"][definition]["properties"][&name];
            assert_eq!(property["description"], comment, "{table}.{name}");
            let may_be_null = property["type"]
                .as_array()
                .is_some_and(|types| types.contains(&"null".into()));
            assert_eq!(may_be_null, !required, "{table}.{name}");
        }
    }
}
