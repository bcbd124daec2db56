//! The wire, protocol version 1: what a client may say, what the relay answers, and how a connection ends.
//!
//! Pure: text in, values out. `docs/protocol.md` is the page for people.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cursor::{Cursor, CursorError};
use crate::event::Topic;
use crate::hub::filter::Filter;
use crate::hub::{Frame, Heartbeat, Mode, ResetReason, Status, Wanted};

/// The version of the protocol that this relay speaks.
pub const PROTOCOL: u32 = 1;
/// The subscription that a connection's own query describes.
pub const DEFAULT_SUBSCRIPTION: &str = "default";
/// Most values in one list of a filter.
const MAX_VALUES: usize = 1_000;
/// Longest value of a list, in bytes.
const MAX_VALUE_BYTES: usize = 512;
/// Longest reason for refusing a message, in characters.
const MAX_REASON: usize = 300;
/// Longest name of a subscription, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 64;

/// The statuses that a filter may name: those of operations and those of connections.
const STATUSES: [&str; 10] = [
    "pending",
    "in_progress",
    "paused",
    "completed",
    "failed",
    "cancelled",
    "connected",
    "disconnected",
    "reconnecting",
    "error",
];

/// What a client may say on a WebSocket.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ClientMessage {
    /// Begin a subscription.
    Subscribe(SubscribeMessage),
    /// End one.
    Unsubscribe {
        /// Which.
        id: String,
    },
    /// Ask for a `pong`.
    Ping,
    /// Show a token.
    Auth {
        /// The token.
        #[serde(rename = "token")]
        _token: String,
    },
}

/// A subscription by message: the same fields as in a query, lists as arrays.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscribeMessage {
    /// Its name.
    pub id: String,
    /// What it asks for.
    #[serde(default)]
    topics: Option<Vec<String>>,
    #[serde(default)]
    operation_id: Vec<String>,
    #[serde(default)]
    owner: Vec<String>,
    #[serde(default)]
    operation_type: Vec<String>,
    #[serde(default)]
    status: Vec<String>,
    #[serde(default)]
    source: Vec<String>,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    since: Option<String>,
    #[serde(default)]
    snapshot: Option<bool>,
}

/// Most characters of what a client sent that are sent back to it.
const MOST_ECHOED: usize = 64;

/// As much of what a client sent as is of use to it.
pub(crate) fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(MOST_ECHOED).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// What is wrong with a request, in words that name the field and what was expected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// A field has a value that it cannot have.
    #[error("{field}: expected {expected}, got \"{got}\"")]
    Value {
        /// Which field.
        field: &'static str,
        /// What it may be.
        expected: Cow<'static, str>,
        /// What it was.
        got: String,
    },
    /// A field that does not exist.
    #[error(
        "unknown parameter \"{0}\": expected one of topics, operation_id, owner, operation_type, status, source, mode, since, snapshot"
    )]
    Unknown(String),
    /// A parameter that was given twice.
    #[error("{0}: given more than once; separate the values by commas")]
    Twice(String),
    /// A message that is not one of the protocol.
    #[error("not a message of the protocol: {0}")]
    Message(String),
    /// One subscription more than a connection may have.
    #[error("id: expected at most {0} subscriptions on one connection")]
    TooManySubscriptions(usize),
}

impl BadRequest {
    /// The field that is to blame, where it is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Value { field, .. } => Some(field),
            Self::Unknown(name) | Self::Twice(name) => Some(name),
            Self::TooManySubscriptions(_) => Some("id"),
            Self::Message(_) => None,
        }
    }
}

/// A checked subscription.
#[derive(Debug)]
pub struct Subscription {
    /// Its name, its filter and its mode.
    pub wanted: Wanted,
    /// The cursor to resume from, as far as it can be read.
    pub since: Option<Result<Arc<Cursor>, CursorError>>,
    /// Whether to begin with the present state; unless said, exactly where there is no cursor.
    pub snapshot: bool,
}

impl SubscribeMessage {
    /// Reads the query of `/ws` and `/events`. `Last-Event-ID` comes as `last_event_id` here.
    ///
    /// # Errors
    /// Names a parameter that is unknown or was given twice, and a `snapshot` that is not true or false.
    pub fn from_query<'a>(
        pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<Self, BadRequest> {
        let mut message = Self {
            id: DEFAULT_SUBSCRIPTION.into(),
            ..Self::default()
        };
        let mut seen = BTreeSet::new();
        for (name, value) in pairs {
            if !seen.insert(name.to_string()) {
                return Err(BadRequest::Twice(shortened(&name)));
            }
            let list = || {
                value
                    .split(',')
                    .filter(|item| !item.is_empty())
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            match &*name {
                "topics" => message.topics = Some(list()),
                "operation_id" => message.operation_id = list(),
                "owner" => message.owner = list(),
                "operation_type" => message.operation_type = list(),
                "status" => message.status = list(),
                "source" => message.source = list(),
                "mode" => message.mode = Some(value.into_owned()),
                "since" => message.since = message.since.or(Some(value.into_owned())),
                "last_event_id" => message.since = Some(value.into_owned()),
                "snapshot" => message.snapshot = Some(boolean("snapshot", &value)?),
                _ => return Err(BadRequest::Unknown(shortened(&name))),
            }
        }
        Ok(message)
    }

    /// Replaces the cursor: a `Last-Event-ID` header wins over everything in the query.
    pub fn resume_from(&mut self, last_event_id: String) {
        self.since = Some(last_event_id);
    }

    /// Whether no subscription is asked for (`topics=none`).
    pub fn is_none(&self) -> bool {
        self.topics
            .as_deref()
            .is_some_and(|topics| matches!(topics, [only] if only == "none"))
    }

    /// Checks every field.
    ///
    /// # Errors
    /// Names the first field that is wrong and says what was expected.
    pub fn check(self) -> Result<Subscription, BadRequest> {
        if self.id.is_empty() || self.id.len() > MAX_NAME_BYTES {
            return Err(bad(
                "id",
                format!("a name of 1 to {MAX_NAME_BYTES} bytes"),
                &self.id,
            ));
        }
        let filter = Filter {
            operation_ids: values("operation_id", self.operation_id, |id| {
                Uuid::parse_str(id)
                    .map(|id| id.to_string().into())
                    .map_err(|_| "a UUID")
            })?,
            owners: values("owner", self.owner, any)?,
            operation_types: values("operation_type", self.operation_type, any)?,
            statuses: values("status", self.status, |status| {
                let known = STATUSES.contains(&status).then(|| status.into());
                known.ok_or("pending, in_progress, paused, completed, failed, cancelled, connected, disconnected, reconnecting or error")
            })?,
            sources: values("source", self.source, any)?,
            topics: BTreeSet::new(),
        };
        let narrowed = !(filter.operation_ids.is_empty()
            && filter.owners.is_empty()
            && filter.operation_types.is_empty());
        let topics = match self.topics {
            Some(names) if !names.is_empty() => names
                .iter()
                .map(|name| topic(name))
                .collect::<Result<_, _>>()?,
            _ if narrowed => [Topic::Operations, Topic::Errors].into(),
            _ => Topic::ALL.into(),
        };
        let mode = match self.mode.as_deref() {
            None | Some("latest") => Mode::Latest,
            Some("every") => Mode::Every,
            Some(other) => return Err(bad("mode", "latest or every", other)),
        };
        let since = self
            .since
            .filter(|since| !since.is_empty())
            .map(|since| Cursor::decode(&since).map(Arc::new));
        let snapshot = self.snapshot.unwrap_or(since.is_none());
        let filter = Filter { topics, ..filter };
        Ok(Subscription {
            wanted: Wanted {
                sub: self.id.into(),
                filter,
                mode,
            },
            since,
            snapshot,
        })
    }
}

fn bad(field: &'static str, expected: impl Into<Cow<'static, str>>, got: &str) -> BadRequest {
    let got = shortened(got);
    BadRequest::Value {
        field,
        expected: expected.into(),
        got,
    }
}

fn boolean(field: &'static str, value: &str) -> Result<bool, BadRequest> {
    value
        .parse()
        .map_err(|_| bad(field, "true or false", value))
}

fn topic(name: &str) -> Result<Topic, BadRequest> {
    Topic::from_name(name)
        .ok_or_else(|| bad("topics", "operations, errors, connections or health", name))
}

fn any(value: &str) -> Result<Box<str>, &'static str> {
    Ok(value.into())
}

fn values(
    field: &'static str,
    given: Vec<String>,
    read: impl Fn(&str) -> Result<Box<str>, &'static str>,
) -> Result<BTreeSet<Box<str>>, BadRequest> {
    if given.len() > MAX_VALUES {
        return Err(bad(
            field,
            format!("at most {MAX_VALUES} values"),
            &given.len().to_string(),
        ));
    }
    let value = |value: &String| {
        if value.is_empty() || value.len() > MAX_VALUE_BYTES {
            return Err(bad(
                field,
                format!("values of 1 to {MAX_VALUE_BYTES} bytes"),
                value,
            ));
        }
        read(value).map_err(|expected| bad(field, expected, value))
    };
    given.iter().map(value).collect()
}

/// Reads a client's text.
///
/// # Errors
/// Says what is wrong with it.
pub fn read(text: &str) -> Result<ClientMessage, BadRequest> {
    match text.trim() {
        "ping" => Ok(ClientMessage::Ping),
        text => serde_json::from_str(text).map_err(|error| {
            // It may repeat whatever the client has sent.
            let reason: String = error.to_string().chars().take(MAX_REASON).collect();
            BadRequest::Message(reason)
        }),
    }
}

/// What the relay says, besides `events` and `snapshot`, which the hub encodes.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ServerMessage<'a> {
    /// The first frame of a connection.
    Hello {
        /// The version of the protocol.
        protocol: u32,
        /// This connection; `connection_status` names it so, with its transport before it.
        connection_id: Uuid,
        /// The relay's name and version.
        server: &'static str,
        /// How often a heartbeat comes.
        heartbeat_interval_ms: u64,
        /// How to come back.
        reconnect: ReconnectHints,
    },
    /// Whether the relay is in touch with its database.
    Status(&'a Status),
    /// A subscription has begun: nothing after the cursor is missed. What follows up to the first heartbeat is what it
    /// lacks, so the cursor is the one that it brought; where a snapshot follows, the snapshot's last part has it.
    Subscribed {
        /// Which.
        sub: &'a str,
        /// Where.
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
    },
    /// A subscription has ended.
    Unsubscribed {
        /// Which.
        sub: &'a str,
    },
    /// Everything up to here has been sent.
    Heartbeat(&'a Heartbeat),
    /// In the place of a heartbeat, while the subscription waits for what it lacks or is being sent it: it is not
    /// complete, and nobody need give the connection up.
    #[serde(rename = "catching_up")]
    CatchingUp {
        /// Which.
        sub: &'a str,
        /// What it has, where that is a place to resume from.
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a Arc<str>>,
    },
    /// The subscription starts again from the snapshot that follows.
    Reset {
        /// Which.
        sub: &'a str,
        /// Why.
        reason: ResetReason,
        /// Why, in words.
        message: &'static str,
    },
    /// The answer to a ping.
    Pong,
    /// Something that the client said was wrong; nothing has changed.
    Error {
        /// Which subscription, where it is about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        sub: Option<&'a str>,
        /// For programs.
        code: &'static str,
        /// For people.
        message: &'a str,
    },
    /// The last frame of a connection that the relay ends.
    Closing {
        /// The close code.
        code: u16,
        /// Its text.
        reason: &'static str,
        /// When to come back; absent where coming back is of no use.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

/// How a client should come back: after a random part (`jitter` of the whole) of a wait that doubles between two bounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ReconnectHints {
    min_ms: u64,
    max_ms: u64,
    jitter: f32,
}

impl Default for ReconnectHints {
    fn default() -> Self {
        Self {
            min_ms: 500,
            max_ms: 30_000,
            jitter: 1.0,
        }
    }
}

impl ServerMessage<'_> {
    /// The frame of the message.
    pub fn frame(&self) -> Frame {
        let (kind, cursor) = match self {
            Self::Hello { .. } => ("hello", None),
            Self::Status(_) => ("status", None),
            Self::Subscribed { cursor, .. } => ("subscribed", cursor.map(Into::into)),
            Self::Unsubscribed { .. } => ("unsubscribed", None),
            Self::Heartbeat(heartbeat) => ("heartbeat", Some(heartbeat.cursor.clone())),
            Self::CatchingUp { cursor, .. } => ("catching_up", cursor.cloned()),
            Self::Reset { .. } => ("reset", None),
            Self::Pong => ("pong", None),
            Self::Error { .. } => ("error", None),
            Self::Closing { .. } => ("closing", None),
        };
        let json = serde_json::to_string(self)
            .expect("the messages of the protocol are JSON")
            .into();
        Frame { kind, cursor, json }
    }
}

/// Why the relay ends a connection: code, text, and whether to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The relay stops; another one, or its next run, will answer.
    Stopping,
    /// What the client asked for in its query makes no sense.
    BadRequest,
    /// A subscription that wants every event fell too far behind: come back with the last cursor.
    SlowConsumer,
    /// The page's origin is not allowed here.
    ForbiddenOrigin,
    /// Nothing was heard of the client for too long.
    Idle,
    /// The event log cannot be read for a resuming subscription just now: come back with the last cursor.
    TryAgain,
}

impl CloseReason {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 6] = [
        Self::Stopping,
        Self::BadRequest,
        Self::SlowConsumer,
        Self::ForbiddenOrigin,
        Self::Idle,
        Self::TryAgain,
    ];

    /// The WebSocket close code.
    pub fn code(self) -> u16 {
        match self {
            Self::Stopping => 1001,
            Self::BadRequest => 4000,
            Self::SlowConsumer => 4002,
            Self::ForbiddenOrigin => 4003,
            Self::Idle => 4004,
            Self::TryAgain => 4005,
        }
    }

    /// The text that goes with it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Stopping => "the relay is stopping",
            Self::BadRequest => "the request cannot be served",
            Self::SlowConsumer => {
                "this subscriber fell too far behind; resume from the last cursor"
            }
            Self::ForbiddenOrigin => "pages of this origin may not subscribe",
            Self::Idle => "nothing was heard of this client for too long",
            Self::TryAgain => "the event log cannot be read now; resume from the last cursor",
        }
    }

    /// Up to when a client should wait before it comes back, where that is of any use: a random wait below this.
    pub fn retry_within(self) -> Option<Duration> {
        match self {
            Self::Stopping | Self::TryAgain => Some(Duration::from_secs(3)),
            Self::SlowConsumer | Self::Idle => Some(Duration::from_secs(1)),
            Self::BadRequest | Self::ForbiddenOrigin => None,
        }
    }

    /// The `closing` frame, with a wait drawn for this client alone.
    pub fn frame(self) -> Frame {
        let wait = |bound: Duration| bound.mul_f64(rand::random::<f64>()).as_millis() as u64;
        let retry_after_ms = self.retry_within().map(wait);
        ServerMessage::Closing {
            code: self.code(),
            reason: self.text(),
            retry_after_ms,
        }
        .frame()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Subscription, BadRequest> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (Cow::from(name.to_owned()), Cow::from(value.to_owned()))
        });
        SubscribeMessage::from_query(pairs)?.check()
    }

    #[test]
    fn a_bare_connection_gets_everything_from_a_snapshot_on() {
        let subscription = query("").expect("valid");
        assert_eq!(subscription.wanted.filter, Filter::topics(Topic::ALL));
        assert_eq!(
            (subscription.wanted.mode, subscription.snapshot),
            (Mode::Latest, true)
        );
    }

    #[test]
    fn who_names_operations_gets_operations_and_their_errors_unless_it_says_otherwise() {
        let topics = |text| query(text).expect("valid").wanted.filter.topics;
        assert_eq!(
            topics("owner=alice"),
            [Topic::Operations, Topic::Errors].into()
        );
        assert_eq!(topics("owner=alice&topics=health"), [Topic::Health].into());
    }

    #[test]
    fn bad_values_are_refused_by_name_with_what_was_expected() {
        for (text, field) in [
            ("topics=moon", "topics"),
            ("operation_id=7", "operation_id"),
            ("status=running", "status"),
            ("mode=fast", "mode"),
            ("snapshot=maybe", "snapshot"),
        ] {
            let error = query(text).expect_err(text).to_string();
            assert!(error.starts_with(&format!("{field}: expected ")), "{error}");
        }
        assert_eq!(
            query("colour=red").expect_err("unknown"),
            BadRequest::Unknown("colour".into())
        );
        assert_eq!(
            query("owner=a&owner=b").expect_err("twice"),
            BadRequest::Twice("owner".into())
        );
    }

    #[test]
    fn a_cursor_that_cannot_be_read_is_no_error_but_a_reset_to_come() {
        let subscription = query("since=nonsense!").expect("valid");
        assert!(matches!(subscription.since, Some(Err(_))));
        assert!(
            query("since=").expect("valid").since.is_none(),
            "an empty one is none"
        );
    }

    #[test]
    fn messages_are_read_and_unknown_fields_named() {
        assert!(matches!(read("ping"), Ok(ClientMessage::Ping)));
        assert!(matches!(
            read(r#"{"type":"ping"}"#),
            Ok(ClientMessage::Ping)
        ));
        let Ok(ClientMessage::Subscribe(message)) =
            read(r#"{"type":"subscribe","id":"s1","topics":["health"],"mode":"every"}"#)
        else {
            panic!("a subscription");
        };
        assert_eq!(message.check().expect("valid").wanted.mode, Mode::Every);
        let error = read(r#"{"type":"subscribe","id":"s1","colour":1}"#)
            .expect_err("unknown field")
            .to_string();
        assert!(error.contains("colour"), "{error}");
        assert!(read("{").is_err());
        let long = "x".repeat(60_000);
        let error = read(&format!(r#"{{"type":"subscribe","id":"s1","{long}":1}}"#))
            .expect_err("unknown field")
            .to_string();
        assert!(error.len() < 400, "what is refused is not sent back whole");
        let error = query(&format!("{long}=1"))
            .expect_err("unknown")
            .to_string();
        assert!(error.len() < 400, "{error}");
    }

    #[test]
    fn every_close_reason_has_a_code_of_its_own_and_says_whether_to_come_back() {
        let codes: BTreeSet<u16> = CloseReason::ALL
            .into_iter()
            .map(CloseReason::code)
            .collect();
        assert_eq!(codes.len(), CloseReason::ALL.len());
        let frame = CloseReason::Stopping.frame();
        assert!(frame.json.contains(r#""retry_after_ms""#), "{frame:?}");
        assert!(
            !CloseReason::BadRequest
                .frame()
                .json
                .contains("retry_after_ms")
        );
    }
}
