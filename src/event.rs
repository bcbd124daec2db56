//! What travels: one change of one row, as read from the event log.
//!
//! An event is encoded once, here, and shared by everyone who gets it. What subscribers filter on ([`Keys`]) is read
//! out of the row once, too.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What subscribers choose by: which table an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// `sync_operations`
    Operations,
    /// `sync_operation_errors`
    Errors,
    /// `connection_status`
    Connections,
    /// `sync_status_snapshots`
    Health,
}

impl Topic {
    /// All of them, in the order of the documentation.
    pub const ALL: [Topic; 4] = [
        Topic::Operations,
        Topic::Errors,
        Topic::Connections,
        Topic::Health,
    ];

    /// The name on the wire and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Operations => "operations",
            Topic::Errors => "errors",
            Topic::Connections => "connections",
            Topic::Health => "health",
        }
    }

    /// The topic of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }
}

/// The columns that subscribers filter on; `None` where the row has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Whose operation it is.
    pub owner: Option<Box<str>>,
    /// What kind of operation it is.
    pub operation_type: Option<Box<str>>,
    /// The status of the operation, connection or snapshot.
    pub status: Option<Box<str>>,
    /// Where it comes from.
    pub source: Option<Box<str>>,
}

/// A row as it was at some revision.
#[derive(Debug)]
pub struct Row {
    /// Which row: the operation's id (for errors too), the client id, the snapshot's id.
    pub entity: Box<str>,
    /// Grows with each change of the row: an older one must never replace a newer one.
    pub revision: i64,
    /// What subscribers filter on.
    pub keys: Keys,
    /// The row as a JSON object.
    pub data: Box<str>,
}

/// The part of a row that the relay itself looks at.
#[derive(Deserialize)]
struct RowKeys<'a> {
    #[serde(borrow, default)]
    owner: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    operation_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    source: Option<Cow<'a, str>>,
}

impl Row {
    /// A row from its JSON text, which must be an object.
    ///
    /// # Errors
    /// Where the text is not a JSON object or a filtered column is not text.
    pub fn new(entity: &str, revision: i64, data: &str) -> Result<Self, serde_json::Error> {
        let keys: RowKeys<'_> = if data.trim_start().starts_with('{') {
            serde_json::from_str(data)?
        } else {
            return Err(serde::de::Error::custom("expected a JSON object"));
        };
        let owned =
            |value: Option<Cow<'_, str>>| value.map(|text| text.into_owned().into_boxed_str());
        Ok(Self {
            entity: entity.into(),
            revision,
            keys: Keys {
                owner: owned(keys.owner),
                operation_type: owned(keys.operation_type),
                status: owned(keys.status),
                source: owned(keys.source),
            },
            data: data.into(),
        })
    }

    /// Whether this is an operation that has ended.
    pub fn has_ended(&self) -> bool {
        matches!(
            self.keys.status.as_deref(),
            Some("completed" | "failed" | "cancelled")
        )
    }
}

/// What an event says about its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The row is now as the event says.
    Upserted,
    /// The row is gone; the event has its last values.
    Deleted,
    /// The whole table was emptied.
    Truncated,
}

/// One change of one row.
#[derive(Debug)]
pub struct Event {
    /// Order within one interval of the log.
    pub id: i64,
    /// The transaction that made the change.
    pub xid: u64,
    /// Which table it is about.
    pub topic: Topic,
    /// What happened, for example `operation.progress`.
    pub kind: Box<str>,
    /// What that means for the row.
    pub effect: Effect,
    /// The row after the change, on delete before it.
    pub row: Arc<Row>,
    /// The filtered columns before the change, where it moved any of them.
    pub before: Option<Box<Keys>>,
    /// The encoded event up to its data.
    head: Box<str>,
}

/// An event as the log has it.
#[derive(Debug)]
pub struct LogRow<'a> {
    /// Order within one interval of the log.
    pub id: i64,
    /// The transaction that made the change.
    pub xid: u64,
    /// When it was made: an RFC 3339 instant in UTC.
    pub at: &'a str,
    /// The revision of the row after the change.
    pub revision: i64,
    /// The name of the topic.
    pub topic: &'a str,
    /// What happened.
    pub kind: &'a str,
    /// Which row.
    pub entity: &'a str,
    /// The filtered columns where the change moved them: their values before, an empty one where there was none.
    pub old: Keys,
    /// The row.
    pub payload: Payload<'a>,
}

/// The row of an event.
#[derive(Debug)]
pub enum Payload<'a> {
    /// A JSON object, as PostgreSQL wrote it.
    Json(&'a str),
    /// A JSON object whose filtered columns are known already.
    Read(Box<str>, Keys),
}

/// Why a row of the log is not an event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// A topic that this relay does not know.
    #[error("event {id}: unknown topic \"{topic}\"")]
    UnknownTopic {
        /// The event.
        id: i64,
        /// What its topic says.
        topic: String,
    },
    /// A payload that is not a row.
    #[error("event {id}: the payload is not a row")]
    BadPayload {
        /// The event.
        id: i64,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl Event {
    /// Encodes an event of the log.
    ///
    /// # Errors
    /// Where the log holds something that no trigger of ours writes.
    pub fn new(log: LogRow<'_>) -> Result<Self, EventError> {
        let id = log.id;
        let topic = Topic::from_name(log.topic).ok_or_else(|| EventError::UnknownTopic {
            id,
            topic: log.topic.to_owned(),
        })?;
        let row = match log.payload {
            Payload::Json(data) => Row::new(log.entity, log.revision, data)
                .map_err(|source| EventError::BadPayload { id, source })?,
            Payload::Read(data, keys) => Row {
                entity: log.entity.into(),
                revision: log.revision,
                keys,
                data,
            },
        };
        let effect = match log.kind.rsplit_once('.') {
            Some((_, "deleted")) => Effect::Deleted,
            Some((_, "truncated")) => Effect::Truncated,
            _ => Effect::Upserted,
        };
        let before = (log.old != Keys::default()).then(|| Box::new(before(&row.keys, log.old)));
        let mut head = format!(r#"{{"id":{id},"topic":"{}","type":"#, topic.name());
        push_json_string(&mut head, log.kind);
        head.push_str(r#","entity":"#);
        push_json_string(&mut head, log.entity);
        let _ = write!(head, r#","revision":{},"at":"{}""#, log.revision, log.at);
        Ok(Self {
            id,
            xid: log.xid,
            topic,
            kind: log.kind.into(),
            effect,
            row: Arc::new(row),
            before,
            head: head.into(),
        })
    }

    /// Appends the event's JSON; `left` says that the row no longer matches the reader's filter.
    pub fn write_json(&self, left: bool, out: &mut String) {
        out.push_str(&self.head);
        if left {
            out.push_str(r#","left":true"#);
        }
        out.push_str(r#","data":"#);
        out.push_str(&self.row.data);
        out.push('}');
    }

    /// The size of the encoded event in bytes, to within a few.
    pub fn size(&self) -> usize {
        self.head.len() + self.row.data.len() + 24
    }

    /// Whether the event may give way to a newer one of its row when a subscriber falls behind: endings and errors are
    /// the last to go.
    pub fn is_transient(&self) -> bool {
        self.topic != Topic::Errors && self.effect == Effect::Upserted && !self.row.has_ended()
    }
}

/// The filtered columns before a change: what the log kept, else what they still are. The log keeps an empty text where
/// there was nothing, since null says that the column did not move; no filter asks for an empty text.
fn before(after: &Keys, old: Keys) -> Keys {
    let value = |old: Option<Box<str>>, after: &Option<Box<str>>| match old {
        Some(kept) => Some(kept).filter(|kept| !kept.is_empty()),
        None => after.clone(),
    };
    Keys {
        owner: value(old.owner, &after.owner),
        operation_type: value(old.operation_type, &after.operation_type),
        status: value(old.status, &after.status),
        source: value(old.source, &after.source),
    }
}

/// Appends `text` as a JSON string.
pub fn push_json_string(out: &mut String, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An event about an operation, for the tests of the hub.
    pub(crate) fn operation_event(
        id: i64,
        entity: &str,
        revision: i64,
        kind: &str,
        status: &str,
        old_status: Option<&str>,
    ) -> Event {
        let payload = format!(
            r#"{{"id":{entity:?},"status":"{status}","owner":"o","operation_type":"t","source":null}}"#
        );
        Event::new(LogRow {
            id,
            xid: 100 + id as u64,
            at: "2026-01-02T03:04:05Z",
            revision,
            topic: "operations",
            kind,
            entity,
            old: Keys {
                status: old_status.map(Into::into),
                ..Keys::default()
            },
            payload: Payload::Json(&payload),
        })
        .expect("an event")
    }

    #[test]
    fn an_event_is_the_json_of_the_protocol() {
        let event = operation_event(7, "a\"b", 3, "operation.progress", "in_progress", None);
        let mut json = String::new();
        event.write_json(true, &mut json);
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(value["entity"], "a\"b");
        assert_eq!(value["left"], true);
        assert_eq!(value["data"]["status"], "in_progress");
        assert_eq!(value["revision"], 3);
    }

    #[test]
    fn the_columns_before_are_the_kept_ones_and_else_the_present_ones() {
        let event = operation_event(
            7,
            "a",
            3,
            "operation.completed",
            "completed",
            Some("in_progress"),
        );
        let before = event.before.expect("something moved");
        assert_eq!(before.status.as_deref(), Some("in_progress"));
        assert_eq!(before.owner.as_deref(), Some("o"));
        assert!(
            operation_event(8, "a", 4, "operation.progress", "completed", None)
                .before
                .is_none()
        );
    }

    #[test]
    fn what_no_trigger_writes_is_refused_by_name() {
        let row = |topic, payload| LogRow {
            id: 1,
            xid: 1,
            at: "",
            revision: 1,
            topic,
            kind: "x",
            entity: "e",
            old: Keys::default(),
            payload: Payload::Json(payload),
        };
        assert!(matches!(
            Event::new(row("moon", "{}")),
            Err(EventError::UnknownTopic { id: 1, .. })
        ));
        assert!(matches!(
            Event::new(row("health", "[]")),
            Err(EventError::BadPayload { id: 1, .. })
        ));
    }
}
