//! Asks the relay for one operation: one that ended long ago is in no snapshot.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::{address::Address, rows::Operation};

/// How long the relay may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// The operation, or that there is none. Nothing at all where the relay can not say just now: whoever waits goes on
/// waiting for events.
pub(super) async fn look_up(address: &Address, id: &str) -> Option<Option<Operation>> {
    let client = Client::builder().timeout(LIMIT).build().ok()?;
    let response = client.get(address.operation(id)).send().await.ok()?;
    if response.status() == StatusCode::NOT_FOUND {
        return Some(None);
    }
    let answer: Value = response.error_for_status().ok()?.json().await.ok()?;
    read(answer).map(Some)
}

/// The row, with its errors among its fields.
fn read(answer: Value) -> Option<Operation> {
    let operation: Operation = serde_json::from_value(answer).ok()?;
    (!operation.id.is_empty()).then_some(operation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_operation_is_read_with_its_errors_and_never_from_something_else() {
        let row =
            json!({ "id": "a", "status": "completed", "errors": [{ "id": 1 }], "errors_total": 1 });
        assert!(read(row).is_some_and(|operation| operation.has_ended()));
        for answer in [json!({}), json!([]), json!(null), json!({ "status": 404 })] {
            assert!(read(answer).is_none());
        }
    }
}
