//! One JSON line an event, for programs. Pure.

use serde_json::{json, value::RawValue};

use super::{effect::Effect, text::one_line};

/// Decides what becomes a line.
#[derive(Debug)]
pub(super) struct JsonLines {
    /// Whether the rows of snapshots are told: because somebody asked, or because a reset left a gap that only they
    /// close.
    rows: bool,
    /// Somebody asked.
    always_rows: bool,
}

impl JsonLines {
    pub(super) fn new(rows: bool) -> Self {
        Self {
            rows,
            always_rows: rows,
        }
    }

    /// The line for an effect, if programs are told of it.
    ///
    /// An event is told as it came, the last one of a frame with the frame's cursor. The rows of a snapshot look like
    /// events of the types `snapshot.operation`, `snapshot.connection` and `snapshot.health`; `snapshot.end` follows
    /// with the cursor.
    pub(super) fn line(&mut self, effect: &Effect) -> Option<String> {
        match effect {
            Effect::Event { raw, cursor } => Some(with_cursor(raw, cursor.as_deref())),
            Effect::Row { topic, kind, data } if self.rows => Some(format!(
                r#"{{"topic":"{topic}","type":"{kind}","data":{}}}"#,
                one_line(data.get())
            )),
            Effect::SnapshotEnd { cursor }
                if std::mem::replace(&mut self.rows, self.always_rows) =>
            {
                Some(json!({ "type": "snapshot.end", "cursor": cursor }).to_string())
            }
            Effect::Reset(reset) => {
                self.rows = true;
                let line =
                    json!({ "type": "reset", "reason": reset.reason, "message": reset.message });
                Some(one_line(&line.to_string()))
            }
            _ => None,
        }
    }
}

/// The event as it came, and one more field at its end.
fn with_cursor(raw: &RawValue, cursor: Option<&str>) -> String {
    let line = one_line(raw.get());
    match (cursor, line.trim_end().strip_suffix('}')) {
        (Some(cursor), Some(open)) => format!("{open},\"cursor\":{}}}", json!(cursor)),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::frame::Reset;

    fn raw(json: &str) -> Box<RawValue> {
        serde_json::from_str(json).expect("JSON")
    }

    fn row() -> Effect {
        Effect::Row {
            topic: "operations",
            kind: "snapshot.operation",
            data: raw(r#"{"progress":12.50}"#),
        }
    }

    fn end() -> Effect {
        Effect::SnapshotEnd {
            cursor: Some("c".to_owned()),
        }
    }

    #[test]
    fn an_event_is_told_as_it_came_with_the_cursor_at_its_end() {
        let mut lines = JsonLines::new(false);
        let event = |cursor: Option<&str>| Effect::Event {
            raw: raw(r#"{"id":1,"data":{"progress":12.50}}"#),
            cursor: cursor.map(str::to_owned),
        };
        let without = lines.line(&event(None)).expect("a line");
        assert_eq!(without, r#"{"id":1,"data":{"progress":12.50}}"#);
        let with = lines.line(&event(Some("c"))).expect("a line");
        assert_eq!(with, r#"{"id":1,"data":{"progress":12.50},"cursor":"c"}"#);
    }

    #[test]
    fn rows_are_told_when_asked_for() {
        let mut lines = JsonLines::new(true);
        let line =
            r#"{"topic":"operations","type":"snapshot.operation","data":{"progress":12.50}}"#;
        assert_eq!(lines.line(&row()).as_deref(), Some(line));
        assert!(lines.line(&end()).is_some());
        assert!(lines.line(&row()).is_some());
    }

    #[test]
    fn rows_that_nobody_asked_for_are_told_only_after_a_reset() {
        let mut lines = JsonLines::new(false);
        assert_eq!(lines.line(&row()), None);
        assert_eq!(lines.line(&end()), None);
        let reset = Effect::Reset(Reset {
            reason: "log_trimmed".to_owned(),
            message: "m".to_owned(),
        });
        assert!(lines.line(&reset).expect("a line").contains("log_trimmed"));
        assert!(lines.line(&row()).is_some());
        assert!(lines.line(&end()).is_some());
        assert_eq!(
            lines.line(&row()),
            None,
            "the next snapshot is nobody's business again"
        );
    }
}
