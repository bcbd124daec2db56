//! The rows of the tables, as far as they are shown to people.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::frame::lenient;

/// A row of `sync_operations`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Operation {
    #[serde(deserialize_with = "lenient")]
    pub(super) id: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) operation_type: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) status: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) progress: f64,
    #[serde(deserialize_with = "lenient")]
    pub(super) message: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) current_item: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) total_items: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) processed_items: i64,
    #[serde(deserialize_with = "lenient")]
    pub(super) failed_items: i64,
    #[serde(deserialize_with = "lenient")]
    pub(super) owner: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) source: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) items_per_second: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) estimated_completion_at: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    pub(super) duration_seconds: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) error: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) stalled_since: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    pub(super) revision: i64,
}

impl Operation {
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "cancelled")
    }
}

/// A row of `sync_operation_errors`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ItemError {
    #[serde(deserialize_with = "lenient")]
    pub(super) id: i64,
    #[serde(deserialize_with = "lenient")]
    pub(super) item: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) message: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) code: Option<String>,
}

/// A row of `connection_status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connection {
    #[serde(deserialize_with = "lenient")]
    pub(super) client_id: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) status: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) source: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) latency_ms: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) reconnect_attempts: i64,
    #[serde(deserialize_with = "lenient")]
    pub(super) revision: i64,
}

/// A row of `sync_status_snapshots`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Health {
    #[serde(deserialize_with = "lenient")]
    pub(super) status: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) score: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) error_rate_percent: Option<f64>,
}

/// Reads a row; what is missing or strange in it is left at its default, and what is no row at all is all defaults.
pub(super) fn read<'a, T: Deserialize<'a> + Default>(data: &'a RawValue) -> T {
    serde_json::from_str(data.get()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_with_strange_columns_is_still_read() {
        let data =
            r#"{"id":"a","status":"completed","progress":"much","total_items":null,"extra":[1]}"#;
        let raw: Box<RawValue> = serde_json::from_str(data).expect("JSON");
        let operation: Operation = read(&raw);
        assert!(operation.has_ended());
        assert_eq!((operation.progress, operation.total_items), (0.0, None));
    }
}
