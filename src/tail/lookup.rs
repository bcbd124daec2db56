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

/// The row, which may stand alone or beside its errors.
fn read(mut answer: Value) -> Option<Operation> {
    let row = match answer.get_mut("operation") {
        Some(row) => row.take(),
        None => answer,
    };
    let operation: Operation = serde_json::from_value(row).ok()?;
    (!operation.id.is_empty()).then_some(operation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_operation_is_found_alone_or_beside_its_errors_and_never_in_something_else() {
        let row = json!({ "id": "a", "status": "completed" });
        for answer in [row.clone(), json!({ "operation": row, "errors": [] })] {
            assert!(read(answer).is_some_and(|operation| operation.has_ended()));
        }
        for answer in [json!({}), json!([]), json!({ "operation": null })] {
            assert!(read(answer).is_none());
        }
    }
}
