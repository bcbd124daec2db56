//! What the relay sends, as far as `tail` uses it. Frames and fields that it does not know are passed over, so that a
//! newer relay of the same protocol version can be followed.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

/// A message of the relay.
#[derive(Debug)]
pub(super) enum Frame {
    Hello(Hello),
    Status(Status),
    Subscribed(Subscribed),
    Snapshot(Box<Snapshot>),
    Events(Events),
    Heartbeat(Heartbeat),
    CatchingUp(CatchingUp),
    Reset(Reset),
    Error(Refusal),
    Closing(Closing),
    /// Nothing to us: `pong`, or something newer than this program.
    Other,
}

/// The first frame.
#[derive(Debug, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    pub(super) heartbeat_interval_ms: u64,
    #[serde(default)]
    pub(super) reconnect: Option<ReconnectHints>,
}

/// How the relay wants to be come back to, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct ReconnectHints {
    pub(super) min_ms: u64,
    pub(super) max_ms: u64,
}

/// Whether the relay is in touch with its database.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Status {
    pub(super) status: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) since: Option<Timestamp>,
    #[serde(default)]
    pub(super) reason: Option<String>,
}

/// The subscription has begun.
#[derive(Debug, Deserialize)]
pub(super) struct Subscribed {
    /// Missing where a snapshot follows, which has one.
    #[serde(default)]
    pub(super) cursor: Option<String>,
}

/// The state at a cursor, or a part of it.
#[derive(Debug, Deserialize)]
pub(super) struct Snapshot {
    /// Only the last part has it.
    #[serde(default)]
    pub(super) cursor: Option<String>,
    pub(super) part: u32,
    pub(super) parts: u32,
    #[serde(default)]
    pub(super) operations: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(super) connections: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(super) health: Option<Box<RawValue>>,
    /// Whether everything that is active is in it.
    #[serde(default)]
    pub(super) complete: Option<bool>,
}

/// Changes, and the cursor of a reader that has them.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) cursor: String,
    pub(super) events: Vec<Event>,
}

/// One change.
#[derive(Debug)]
pub(super) struct Event {
    /// The event as it came.
    pub(super) raw: Box<RawValue>,
    pub(super) topic: String,
    pub(super) kind: String,
    pub(super) entity: String,
    pub(super) revision: i64,
    /// The row has left the subscription's filter.
    pub(super) left: bool,
    pub(super) data: Box<RawValue>,
}

/// Everything up to here has been sent.
#[derive(Debug, Deserialize)]
pub(super) struct Heartbeat {
    pub(super) cursor: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) complete_as_of: Option<Timestamp>,
    /// How long ago the relay learnt that.
    #[serde(default)]
    pub(super) lag_ms: i64,
}

/// A sign of life in the place of a heartbeat: what was missed is still to come.
#[derive(Debug, Deserialize)]
pub(super) struct CatchingUp {
    /// Missing where there is nothing yet to resume from.
    #[serde(default)]
    pub(super) cursor: Option<String>,
}

/// What came before can not be continued; a snapshot follows.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Reset {
    pub(super) reason: String,
    #[serde(default)]
    pub(super) message: String,
}

/// What was asked for makes no sense to the relay.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

/// The last frame.
#[derive(Debug, Deserialize)]
pub(super) struct Closing {
    pub(super) code: u16,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    pub(super) retry_after_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct RawEvents {
    cursor: String,
    events: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct EventFields {
    topic: String,
    #[serde(rename = "type")]
    kind: String,
    entity: String,
    revision: i64,
    #[serde(default)]
    left: bool,
    data: Box<RawValue>,
}

impl Frame {
    /// Reads a text message.
    ///
    /// # Errors
    /// Where it is no JSON object with a type, or a frame lacks what the protocol gives it.
    pub(super) fn read(text: &str) -> Result<Self, serde_json::Error> {
        let Head { kind } = serde_json::from_str(text)?;
        Ok(match kind.as_str() {
            "hello" => Self::Hello(serde_json::from_str(text)?),
            "status" => Self::Status(serde_json::from_str(text)?),
            "subscribed" => Self::Subscribed(serde_json::from_str(text)?),
            "snapshot" => Self::Snapshot(serde_json::from_str(text)?),
            "events" => Self::Events(Events::read(text)?),
            "heartbeat" => Self::Heartbeat(serde_json::from_str(text)?),
            "catching_up" => Self::CatchingUp(serde_json::from_str(text)?),
            "reset" => Self::Reset(serde_json::from_str(text)?),
            "error" => Self::Error(serde_json::from_str(text)?),
            "closing" => Self::Closing(serde_json::from_str(text)?),
            _ => Self::Other,
        })
    }
}

impl Events {
    fn read(text: &str) -> Result<Self, serde_json::Error> {
        let RawEvents { cursor, events } = serde_json::from_str(text)?;
        let events = events
            .into_iter()
            .map(Event::read)
            .collect::<Result<_, _>>()?;
        Ok(Self { cursor, events })
    }
}

impl Event {
    fn read(raw: Box<RawValue>) -> Result<Self, serde_json::Error> {
        let fields: EventFields = serde_json::from_str(raw.get())?;
        Ok(Self {
            raw,
            topic: fields.topic,
            kind: fields.kind,
            entity: fields.entity,
            revision: fields.revision,
            left: fields.left,
            data: fields.data,
        })
    }
}

/// A value, or its type's default where it is missing, null or not what was expected.
pub(super) fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_kept_as_it_came_with_every_digit() {
        let text = r#"{"type":"events","sub":"default","cursor":"c","events":[{"id":1,"topic":"operations","type":"operation.progress","entity":"e","revision":7,"at":"x","data":{"progress":12.50}}]}"#;
        let Ok(Frame::Events(frame)) = Frame::read(text) else {
            panic!("expected events");
        };
        let [event] = &frame.events[..] else {
            panic!("expected one event");
        };
        assert_eq!((event.revision, event.left), (7, false));
        assert_eq!(event.data.get(), r#"{"progress":12.50}"#);
        assert!(event.raw.get().starts_with(r#"{"id":1,"#));
    }

    #[test]
    fn a_frame_of_a_later_version_is_passed_over_and_nonsense_is_an_error() {
        assert!(matches!(
            Frame::read(r#"{"type":"weather","sun":1}"#),
            Ok(Frame::Other)
        ));
        for nonsense in [
            "",
            "hello",
            "[]",
            r#"{"kind":"hello"}"#,
            r#"{"type":"hello"}"#,
        ] {
            assert!(Frame::read(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn an_instant_that_can_not_be_read_is_unknown_rather_than_an_error() {
        let text = r#"{"type":"heartbeat","sub":"default","cursor":"c","complete_as_of":"infinity","lag_ms":3}"#;
        let Ok(Frame::Heartbeat(heartbeat)) = Frame::read(text) else {
            panic!("expected a heartbeat");
        };
        assert_eq!((heartbeat.complete_as_of, heartbeat.lag_ms), (None, 3));
    }
}
