//! Writers and subscribers at work while something breaks, and the reckoning at the end.

use std::net::SocketAddr;

use futures::future::join_all;
use tokio_postgres::Client;

use super::comparison::Truth;
use super::recorder::{Mode, Record, Recorder};
use super::writers::{Writers, make_rows};
use crate::support::{connect_as_application, eventually};

/// What most scenes are played with.
const WRITERS: u64 = 3;
const SEED: u64 = 20_261_121;
/// Events that every subscriber gets before something breaks, and after it.
const FLOW: usize = 60;

/// Writers and subscribers.
pub(crate) struct Scene {
    writers: Option<Writers>,
    pub(crate) recorders: Vec<Recorder>,
}

impl Scene {
    /// Subscribes in both modes, starts the writers, and waits until events flow.
    pub(crate) async fn begin(url: &str, relays: &[SocketAddr]) -> Self {
        Self::begin_with(url, relays, "").await
    }

    /// As [`Self::begin`], with writers whose sessions say this first.
    pub(crate) async fn begin_with(url: &str, relays: &[SocketAddr], say: &str) -> Self {
        make_rows(&connect_as_application(url).await).await;
        let modes = [Mode::Every, Mode::Latest, Mode::Every];
        let recorders = join_all(modes.map(|mode| Recorder::start(relays, mode))).await;
        let scene = Self {
            writers: Some(Writers::start(url, WRITERS, SEED, say)),
            recorders,
        };
        scene.flow().await;
        scene
    }

    /// Waits until the writers have got on, and every subscriber with them.
    pub(crate) async fn flow(&self) {
        let told: Vec<_> = self
            .recorders
            .iter()
            .map(|one| one.record().told())
            .collect();
        self.write_on().await;
        for (recorder, before) in self.recorders.iter().zip(told) {
            recorder
                .until("events flow", |record| record.told() > before + FLOW)
                .await;
        }
    }

    /// Waits until every subscriber's record is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Record) -> bool) {
        for recorder in &self.recorders {
            recorder.until(what, &is_so).await;
        }
    }

    /// Waits until every subscriber was told, in this order: degraded with a reason, catching up, live.
    pub(crate) async fn recovered(&self) {
        let expected = ["degraded", "catching_up", "live"];
        self.until(&format!("{expected:?}, in this order"), |record| {
            // The first one of all says how things were when it came.
            let mut told = record.statuses.iter().skip(1);
            expected.iter().all(|name| {
                told.any(|status| {
                    status.name == *name && (status.name != "degraded" || status.is_degraded())
                })
            })
        })
        .await;
    }

    /// Waits until the writers have got on, whoever sees it.
    pub(crate) async fn write_on(&self) {
        let committed = self.writers().committed();
        eventually("the writers get on", async || {
            self.writers().committed() > committed + FLOW as u64
        })
        .await;
    }

    /// Whether nobody was reset or sent a second snapshot.
    pub(crate) fn assert_resumed(&self) {
        for recorder in &self.recorders {
            let record = recorder.record();
            assert!(
                record.resets.is_empty(),
                "the cursors were still good: {:?}",
                record.resets
            );
            assert_eq!(record.chapters.len(), 1, "no second snapshot");
        }
    }

    /// Whether everybody was reset, and why.
    pub(crate) async fn assert_reset(&self, reason: &str) {
        self.until("a reset and a snapshot", |record| {
            record.resets.iter().any(|told| told == reason) && record.position().is_some()
        })
        .await;
    }

    /// Starts writers again, perhaps somewhere else.
    pub(crate) fn write(&mut self, url: &str) {
        self.writers = Some(Writers::start(url, WRITERS, SEED + 1, ""));
    }

    /// Ends the writers.
    pub(crate) async fn stop_writing(&mut self) {
        if let Some(writers) = self.writers.take() {
            writers.stop().await;
        }
    }

    /// Ends the writers and compares what every subscriber was told with what is in the database.
    pub(crate) async fn reckon(&mut self, client: &Client) {
        self.stop_writing().await;
        for (number, recorder) in self.recorders.iter().enumerate() {
            let mut differences = Vec::new();
            let complete = async {
                loop {
                    // A writer's last transaction may be committed after it was told to stop, and told after it was read
                    // what is true.
                    let truth = Truth::read(client).await;
                    differences = truth.differences(recorder.mode, &recorder.record());
                    let is_hopeless = |text: &String| {
                        text.starts_with("twice") || text.starts_with("out of order")
                    };
                    if differences.is_empty() || differences.iter().any(is_hopeless) {
                        return;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            };
            let _ = tokio::time::timeout(crate::support::PATIENCE, complete).await;
            let record = recorder.record();
            assert!(
                differences.is_empty(),
                "subscriber {number} ({:?}), {} events, resets {:?}, statuses {:?}: {differences:#?}",
                recorder.mode,
                record.told(),
                record.resets,
                record.statuses,
            );
        }
    }

    fn writers(&self) -> &Writers {
        self.writers.as_ref().expect("the writers are at work")
    }
}
