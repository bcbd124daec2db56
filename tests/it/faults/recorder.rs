//! A subscriber that writes down what it is told, and behaves as `docs/protocol.md` asks: it keeps the cursor of the
//! last frame that it took in, comes back with it when it is cut off, and forgets everything when it is reset.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bellwether::cursor::Cursor;
use futures::StreamExt;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::support::relay::text;
use crate::support::{PATIENCE, eventually};

/// What a subscriber watches.
const TOPICS: &str = "topics=operations,errors";
/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(50);

/// How a subscriber wants its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Every,
    Latest,
}

/// A subscriber at work. It ends with this value.
pub(crate) struct Recorder {
    pub(crate) mode: Mode,
    record: Arc<Mutex<Record>>,
    task: JoinHandle<()>,
}

/// A place in what a subscriber was told.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    statuses: usize,
    heartbeats: usize,
}

/// A status that it was told.
#[derive(Debug)]
pub(crate) struct Status {
    /// `live`, `degraded` and so on.
    pub(crate) name: String,
    pub(crate) reason: String,
    /// How many heartbeats it had got before.
    heartbeats: usize,
}

impl Status {
    /// Whether it says that something is wrong, and what.
    pub(crate) fn is_degraded(&self) -> bool {
        self.name == "degraded" && !self.reason.is_empty()
    }
}

/// What a subscriber was told.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// One for each snapshot that it got, with the events that followed.
    pub(crate) chapters: Vec<Chapter>,
    /// The operations as it holds them.
    pub(crate) screen: BTreeMap<String, Value>,
    pub(crate) statuses: Vec<Status>,
    /// The reasons of its resets.
    pub(crate) resets: Vec<String>,
    /// Its connections.
    pub(crate) connections: usize,
    /// The instant up to which it was told last that it is complete.
    pub(crate) complete_as_of: Option<String>,
    /// How often it was told so.
    heartbeats: usize,
    cursor: Option<String>,
    /// Whether a snapshot is half there.
    is_partial: bool,
}

/// What followed one snapshot.
#[derive(Debug)]
pub(crate) struct Chapter {
    /// Where the snapshot was taken; none until its last part has come.
    pub(crate) from: Option<Cursor>,
    pub(crate) events: Vec<Told>,
}

/// An event, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    pub(crate) id: i64,
    pub(crate) kind: String,
    /// The row: an operation's id, or an error's.
    pub(crate) row: String,
    pub(crate) revision: i64,
}

impl Recorder {
    /// Subscribes at the first of these relays, and at the next one whenever it is cut off. Waits for the snapshot.
    pub(crate) async fn start(relays: &[SocketAddr], mode: Mode) -> Self {
        let record = Arc::<Mutex<Record>>::default();
        let task = tokio::spawn(subscribe(relays.to_vec(), mode, record.clone()));
        let recorder = Self { mode, record, task };
        recorder
            .until("a snapshot", |record| record.position().is_some())
            .await;
        recorder
    }

    /// Waits until the record is as it should be.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Record) -> bool) {
        eventually(what, async || is_so(&self.record())).await;
    }

    /// How much it was told until now.
    pub(crate) fn moment(&self) -> Moment {
        let record = self.record();
        Moment {
            statuses: record.statuses.len(),
            heartbeats: record.heartbeats,
        }
    }

    /// Waits until it is told that the relay is degraded, and why; returns how many heartbeats it got since this moment
    /// before that. It is the relay's own count, since a busy machine delays both.
    pub(crate) async fn beats_until_degraded(&self, since: Moment) -> usize {
        let degraded = |record: &Record| {
            let mut new = record.statuses.iter().skip(since.statuses);
            new.find(|status| status.is_degraded())
                .map(|status| status.heartbeats)
        };
        self.until("degraded, with a reason", |record| {
            degraded(record).is_some()
        })
        .await;
        degraded(&self.record()).expect("seen") - since.heartbeats
    }

    /// What it was told so far.
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("the subscriber does not panic")
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Record {
    /// The cursor that it would come back with.
    pub(crate) fn position(&self) -> Option<&str> {
        self.cursor.as_deref().filter(|_| !self.is_partial)
    }

    /// How many events it was told.
    pub(crate) fn told(&self) -> usize {
        self.chapters
            .iter()
            .map(|chapter| chapter.events.len())
            .sum()
    }

    /// Takes in one frame.
    fn take(&mut self, frame: &Value) {
        match frame["type"].as_str() {
            Some("status") => {
                let reason = frame["reason"].as_str().unwrap_or_default();
                self.statuses.push(Status {
                    name: text(&frame["status"]),
                    reason: reason.to_owned(),
                    heartbeats: self.heartbeats,
                });
            }
            Some("reset") => {
                self.resets.push(text(&frame["reason"]));
                self.cursor = None;
            }
            Some("snapshot") => self.take_snapshot(frame),
            Some("events") => {
                for event in frame["events"].as_array().expect("an array") {
                    self.take_event(event);
                }
                self.cursor = Some(text(&frame["cursor"]));
            }
            Some("heartbeat") => {
                self.heartbeats += 1;
                self.complete_as_of = Some(text(&frame["complete_as_of"]));
                self.cursor = Some(text(&frame["cursor"]));
            }
            _ => {}
        }
    }

    fn take_snapshot(&mut self, frame: &Value) {
        if frame["part"] == 1 {
            self.screen.clear();
            self.chapters.push(Chapter {
                from: None,
                events: Vec::new(),
            });
        }
        for row in frame["operations"].as_array().expect("an array") {
            self.screen.insert(text(&row["id"]), row.clone());
        }
        self.is_partial = frame["part"] != frame["parts"];
        if !self.is_partial {
            let cursor = text(&frame["cursor"]);
            let chapter = self.chapters.last_mut().expect("the first part came first");
            chapter.from = Some(Cursor::decode(&cursor).expect("a cursor"));
            self.cursor = Some(cursor);
        }
    }

    fn take_event(&mut self, event: &Value) {
        let (topic, kind) = (text(&event["topic"]), text(&event["type"]));
        let revision = event["revision"].as_i64().expect("a number");
        let entity = text(&event["entity"]);
        let row = if topic == "errors" {
            format!("error {}", event["data"]["id"])
        } else {
            entity.clone()
        };
        if topic == "operations" {
            let held = self.screen.get(&entity);
            let is_older = held.is_some_and(|held| held["revision"].as_i64() > Some(revision));
            if kind == "operation.deleted" {
                self.screen.remove(&entity);
            } else if !is_older {
                self.screen.insert(entity, event["data"].clone());
            }
        }
        let chapter = self.chapters.last_mut().expect("a snapshot comes first");
        chapter.events.push(Told {
            id: event["id"].as_i64().expect("a number"),
            kind,
            row,
            revision,
        });
    }
}

async fn subscribe(relays: Vec<SocketAddr>, mode: Mode, record: Arc<Mutex<Record>>) {
    let mode = match mode {
        Mode::Every => "every",
        Mode::Latest => "latest",
    };
    for relay in relays.iter().cycle() {
        let since = {
            let mut record = record.lock().expect("no panic");
            record.is_partial = false;
            record
                .cursor
                .as_ref()
                .map(|cursor| format!("&since={cursor}"))
        };
        let since = since.unwrap_or_default();
        let connecting = connect_async(format!("ws://{relay}/ws?{TOPICS}&mode={mode}{since}"));
        if let Ok(Ok((mut socket, _))) = timeout(PATIENCE, connecting).await {
            record.lock().expect("no panic").connections += 1;
            // A relay says something every few seconds; one that does not is not there any more.
            while let Ok(Some(Ok(message))) = timeout(PATIENCE, socket.next()).await {
                if let Message::Text(frame) = message {
                    let frame = serde_json::from_str(&frame).expect("frames are JSON");
                    record.lock().expect("no panic").take(&frame);
                }
            }
        }
        sleep(AGAIN).await;
    }
}
