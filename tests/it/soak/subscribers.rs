//! Who listens: over WebSocket and SSE, in both modes, with filters; slow, cut off and resuming at random, here and there.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bellwether::cursor::Cursor;
use futures::StreamExt;
use futures::stream::BoxStream;
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::log::Log;

/// How long the last events may take. Long, because it says nothing about speed.
const PATIENCE: Duration = Duration::from_secs(90);
/// A heartbeat comes more often than this.
const SILENCE: Duration = Duration::from_secs(20);

/// What a subscriber wants; each list that is not empty must name the value.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) topics: Vec<&'static str>,
    ids: Vec<&'static str>,
    owners: Vec<&'static str>,
    types: Vec<&'static str>,
    statuses: Vec<&'static str>,
}

impl Filter {
    /// Whether a row with this data is wanted.
    pub(super) fn matches(&self, topic: &str, entity: &str, data: &Value) -> bool {
        let wants = |list: &[&str], name: &str| {
            list.is_empty()
                || data[name]
                    .as_str()
                    .is_some_and(|value| list.contains(&value))
        };
        let of_operation = || {
            (self.ids.is_empty() || self.ids.contains(&entity))
                && wants(&self.owners, "owner")
                && wants(&self.types, "operation_type")
        };
        match topic {
            "operations" => of_operation() && wants(&self.statuses, "status"),
            "errors" => of_operation(),
            "connections" => wants(&self.statuses, "status"),
            _ => true,
        }
    }

    fn query(&self) -> String {
        let lists = [
            ("topics", &self.topics),
            ("operation_id", &self.ids),
            ("owner", &self.owners),
            ("operation_type", &self.types),
            ("status", &self.statuses),
        ];
        let given = lists.iter().filter(|(_, list)| !list.is_empty());
        let given: Vec<_> = given
            .map(|(name, list)| format!("{name}={}", list.join(",")))
            .collect();
        given.join("&")
    }
}

#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) filter: Filter,
    pub(super) every: bool,
    websocket: bool,
}

impl Subscription {
    /// Each filter in both modes over both carriers.
    pub(super) fn all() -> Vec<Self> {
        let all = vec!["operations", "errors", "connections", "health"];
        let (operations, of_them) = (vec!["operations"], vec!["operations", "errors"]);
        let filters = [
            Filter {
                topics: all.clone(),
                ..Filter::default()
            },
            Filter {
                topics: operations.clone(),
                statuses: vec!["in_progress"],
                ..Filter::default()
            },
            Filter {
                topics: of_them.clone(),
                owners: vec!["ann", "bob"],
                ..Filter::default()
            },
            Filter {
                topics: operations,
                types: vec!["upload"],
                statuses: vec!["pending", "failed"],
                ..Filter::default()
            },
            Filter {
                topics: of_them,
                ids: vec![
                    "00000000-0000-4000-8000-000000000003",
                    "00000000-0000-4000-8000-000000000007",
                ],
                ..Filter::default()
            },
            Filter {
                topics: all,
                owners: vec!["cyd"],
                statuses: vec!["connected", "completed"],
                ..Filter::default()
            },
        ];
        let ways = [(true, true), (true, false), (false, true), (false, false)];
        let each = |filter: Filter| {
            ways.map(|(every, websocket)| Self {
                filter: filter.clone(),
                every,
                websocket,
            })
        };
        filters.into_iter().flat_map(each).collect()
    }
}

/// Tells subscribers that nothing more will be written, and what all of it was.
#[derive(Clone)]
pub(super) struct Finish(watch::Sender<Option<Arc<Log>>>);

impl Default for Finish {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Finish {
    pub(super) fn tell(&self, log: Arc<Log>) {
        self.0.send_replace(Some(log));
    }
}

/// What a subscriber has got.
pub(super) struct Followed {
    pub(super) subscription: Subscription,
    /// What it had before the first event.
    pub(super) began: Option<Cursor>,
    /// In the order in which they came, as text: a hundred thousands of events for each of many subscribers have to fit into
    /// memory.
    texts: Vec<String>,
    pub(super) screen: Screen,
    /// How often it connected, and how often it had to start again.
    connected: u32,
    resets: u32,
    /// What should not have happened on the way.
    pub(super) wrong: Vec<String>,
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subscription {
            filter,
            every,
            websocket,
        } = &self.subscription;
        write!(
            f,
            "{} over {}, {}: {} events, {} connections, {} resets",
            if *every { "every" } else { "latest" },
            if *websocket { "WebSocket" } else { "SSE" },
            filter.query(),
            self.texts.len(),
            self.connected,
            self.resets
        )
    }
}

/// The rows that a client shows, as `docs/protocol.md` tells it to.
#[derive(Default)]
pub(super) struct Screen {
    pub(super) operations: BTreeMap<String, Value>,
    pub(super) connections: BTreeMap<String, Value>,
    revisions: BTreeMap<(String, String), i64>,
    /// Parts of a snapshot that is not complete.
    parts: Vec<Value>,
}

impl Screen {
    fn snapshot(&mut self, frame: &Value) {
        self.parts.push(frame.clone());
        if frame["part"] != frame["parts"] {
            return;
        }
        let parts = std::mem::take(self).parts;
        for (topic, key) in [("operations", "id"), ("connections", "client_id")] {
            let rows = parts
                .iter()
                .filter_map(|part| part[topic].as_array())
                .flatten();
            for row in rows {
                let entity = row[key].as_str().expect("a key").to_owned();
                let revision = row["revision"].as_i64().expect("a revision");
                self.revisions
                    .insert((topic.to_owned(), entity.clone()), revision);
                self.rows(topic)
                    .expect("of these topics")
                    .insert(entity, row.clone());
            }
        }
    }

    fn rows(&mut self, topic: &str) -> Option<&mut BTreeMap<String, Value>> {
        match topic {
            "operations" => Some(&mut self.operations),
            "connections" => Some(&mut self.connections),
            _ => None,
        }
    }

    fn apply(&mut self, event: &Value) {
        let topic = event["topic"].as_str().expect("a topic").to_owned();
        let Some(rows) = self.rows(&topic) else {
            return;
        };
        if event["type"] == "table.truncated" {
            return rows.clear();
        }
        let entity = event["entity"].as_str().expect("an entity").to_owned();
        let revision = event["revision"].as_i64().expect("a revision");
        let key = (topic.clone(), entity.clone());
        if self
            .revisions
            .get(&key)
            .is_some_and(|held| *held > revision)
        {
            return;
        }
        self.revisions.insert(key, revision);
        let gone = event["left"] == true
            || event["type"]
                .as_str()
                .is_some_and(|kind| kind.ends_with(".deleted"));
        let rows = self.rows(&topic).expect("as above");
        if gone {
            rows.remove(&entity);
        } else {
            rows.insert(entity, event["data"].clone());
        }
    }
}

/// Frames as they come, until the connection is over.
type Frames = BoxStream<'static, Value>;

async fn connect(websocket: bool, address: SocketAddr, query: &str) -> Option<Frames> {
    let json = |text: &str| serde_json::from_str(text).expect("frames are JSON");
    if websocket {
        let (socket, _) = connect_async(format!("ws://{address}/ws?{query}"))
            .await
            .ok()?;
        let whole = socket.take_while(|message| std::future::ready(message.is_ok()));
        let frames = whole.filter_map(move |message| async move {
            let Ok(Message::Text(text)) = message else {
                return None;
            };
            Some(json(&text))
        });
        return Some(frames.boxed());
    }
    let response = reqwest::get(format!("http://{address}/events?{query}"))
        .await
        .ok()?;
    let mut body = response.bytes_stream();
    let lines = async_stream::stream! {
        let mut held = Vec::new();
        while let Some(Ok(bytes)) = body.next().await {
            held.extend_from_slice(&bytes);
            while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = held.drain(..=end).collect();
                if let Some(data) = line.strip_prefix(b"data:") {
                    yield json(std::str::from_utf8(data).expect("UTF-8"));
                }
            }
        }
    };
    Some(lines.boxed())
}

/// Follows until everything that was written has come.
pub(super) async fn follow(
    subscription: Subscription,
    relays: [SocketAddr; 2],
    mut choices: StdRng,
    finish: Finish,
) -> Followed {
    let mut finish = finish.0.subscribe();
    let mut followed = Followed {
        subscription,
        began: None,
        texts: Vec::new(),
        screen: Screen::default(),
        connected: 0,
        resets: 0,
        wrong: Vec::new(),
    };
    let mut cursor: Option<String> = None;
    let mut deadline = None;
    loop {
        if choices.random_ratio(1, 3) {
            let away = if choices.random_ratio(1, 6) {
                2_000
            } else {
                300
            };
            sleep(Duration::from_millis(choices.random_range(0..away))).await;
        }
        let relay = relays[choices.random_range(0..2)];
        let query = followed.query(cursor.as_deref());
        let Some(mut frames) = connect(followed.subscription.websocket, relay, &query).await else {
            continue;
        };
        followed.connected += 1;
        // A snapshot that was cut off is worth nothing.
        followed.screen.parts.clear();
        let stays = [3, 10, 40, 200][choices.random_range(0..4)];
        let mut before_the_cut = choices.random_range(1..=stays);
        let is_slow = choices.random_ratio(1, 3);
        loop {
            let log = finish.borrow_and_update().clone();
            if let Some(log) = &log {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                if cursor
                    .as_deref()
                    .is_some_and(|cursor| log.is_seen_in(&decoded(cursor).seen))
                {
                    return followed;
                }
                if Instant::now() > deadline {
                    followed
                        .wrong
                        .push(format!("did not come to the end within {PATIENCE:?}"));
                    return followed;
                }
            } else {
                before_the_cut -= 1;
                if before_the_cut == 0 {
                    break;
                }
                if is_slow {
                    let pause = choices.random_range(0..40);
                    let pause = if choices.random_ratio(1, 40) {
                        pause * 60
                    } else {
                        pause
                    };
                    sleep(Duration::from_millis(pause)).await;
                }
            }
            let frame = tokio::select! {
                frame = timeout(SILENCE, frames.next()) => frame,
                Ok(()) = finish.changed(), if log.is_none() => continue,
            };
            match frame {
                Ok(Some(frame)) => followed.take(&frame, &mut cursor),
                Ok(None) => break,
                Err(_) => {
                    followed
                        .wrong
                        .push(format!("nothing was heard for {SILENCE:?}"));
                    return followed;
                }
            }
        }
    }
}

fn decoded(cursor: &str) -> Cursor {
    Cursor::decode(cursor).expect("a cursor")
}

impl Followed {
    /// The events in the order in which they came.
    pub(super) fn events(&self) -> impl Iterator<Item = Value> {
        let events = self.texts.iter();
        events.map(|text| serde_json::from_str(text).expect("what was an event"))
    }

    fn query(&self, cursor: Option<&str>) -> String {
        let Subscription { filter, every, .. } = &self.subscription;
        let mode = if *every {
            "every&snapshot=false"
        } else {
            "latest"
        };
        let since = cursor
            .map(|cursor| format!("&since={cursor}"))
            .unwrap_or_default();
        format!("{}&mode={mode}{since}", filter.query())
    }

    fn take(&mut self, frame: &Value, cursor: &mut Option<String>) {
        let kind = frame["type"].as_str().expect("a type");
        match kind {
            // Nothing after its cursor is missed; where nothing has been missed yet, it is where the following begins.
            "subscribed" if self.subscription.every && cursor.is_none() => {
                self.began = Some(decoded(frame["cursor"].as_str().expect("a cursor")));
                self.texts.clear();
            }
            "subscribed" => return,
            "snapshot" => self.screen.snapshot(frame),
            "reset" => {
                self.resets += 1;
                self.screen = Screen::default();
                *cursor = None;
                if self.subscription.every {
                    self.wrong.push(format!("was reset: {frame}"));
                }
            }
            "events" => {
                for event in frame["events"].as_array().expect("an array") {
                    self.screen.apply(event);
                    self.texts.push(event.to_string());
                }
            }
            "error" => self.wrong.push(format!("was refused: {frame}")),
            _ => {}
        }
        if let Some(new) = frame["cursor"].as_str() {
            *cursor = Some(new.to_owned());
        }
    }
}
