//! The session that hears the doorbell.
//!
//! It is driven by `poll_message`: a session whose connection is merely awaited discards its notifications. A listener
//! that is cut off and a quiet table look the same, so it proves every few seconds that it hears, by ringing with a
//! word of its own that must come back. Behind a transaction pooler nobody can hear anything: there it only proves that
//! somebody answers, and the reader looks by the clock.
//!
//! A commit that rings queues with those of all writers who ring. So it goes by this session only where that takes a moment,
//! and else by one that is opened for it. Where the queue is longer than the proof has time, there is no proof.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{Either, select};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, SimpleQueryMessage};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::ground::Ground;
use super::{SourceError, SourceOptions, patiently};
use crate::postgres::config::DatabaseConfig;
use crate::postgres::pool::PgConnection;

/// The NOTIFY channel. What it carries says nothing; it means "look".
pub(crate) const CHANNEL: &str = "bellwether";

/// What begins like this was rung to prove that somebody hears, and no event is behind it.
pub(crate) const PROBE: &str = "probe ";

/// How long ringing may wait for the lock that it takes by a session of which more is asked.
const AT_ONCE: Duration = Duration::from_millis(100);
/// And by one of its own, for other relays.
const IN_THE_QUEUE: Duration = Duration::from_secs(60);

/// What came of ringing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rung {
    Yes,
    /// The notification queue is more than half full. A full one would refuse the ring: then nobody else rings either.
    QueueIsFull,
    /// Others had the lock, or were before us in the queue for it.
    Locked,
}

/// A session that listens; dropping it ends the session.
pub(super) struct Listener {
    config: DatabaseConfig,
    client: Client,
    heard: Arc<Heard>,
    word: String,
    /// Not behind a transaction pooler.
    hears: bool,
    lost: CancellationToken,
    _end: DropGuard,
}

/// What has been heard since somebody last asked. Ten rings and one are the same.
#[derive(Default)]
struct Heard {
    bell: Notify,
    probe: Notify,
}

impl Listener {
    /// Connects, and listens where that can be.
    pub(super) async fn connect(
        config: &DatabaseConfig,
        options: &SourceOptions,
    ) -> Result<Self, SourceError> {
        let (client, connection) = config.connect("bellwether listener").await?;
        let (heard, lost, end) = (
            Arc::<Heard>::default(),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        let word = format!("{PROBE}{}", Uuid::new_v4());
        tokio::spawn(drive(
            connection,
            word.clone(),
            heard.clone(),
            lost.clone(),
            end.clone(),
        ));
        let listener = Self {
            config: config.clone(),
            client,
            heard,
            word,
            hears: !config.is_pooled(),
            lost,
            _end: end.drop_guard(),
        };
        if listener.hears {
            let listen = format!("LISTEN {CHANNEL}");
            let listen = async { Ok(listener.client.batch_execute(&listen).await?) };
            patiently(options, listen).await?;
            listener.prove(options).await?;
        }
        Ok(listener)
    }

    /// The session itself, for small statements.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether it can hear at all.
    pub(super) fn hears(&self) -> bool {
        self.hears
    }

    /// Resolves when somebody has rung since the last time.
    pub(super) async fn rung(&self) {
        self.heard.bell.notified().await;
    }

    /// Resolves when the session is lost, does not hear itself any more, or stands on other ground.
    pub(super) async fn watch(&self, options: &SourceOptions, ground: &Ground) -> SourceError {
        // Whether somebody answers is asked beside the proof, which may have to wait in a queue first.
        let answers = async {
            loop {
                sleep(options.probe).await;
                let holds = timeout(options.silence, ground.holds(&self.client)).await;
                if let Err(error) = holds.unwrap_or(Err(SourceError::NoAnswer(options.silence))) {
                    return error;
                }
            }
        };
        let hears = async {
            loop {
                sleep(options.probe).await;
                if let Err(error) = self.prove(options).await {
                    return error;
                }
            }
        };
        tokio::select! {
            () = self.lost.cancelled() => SourceError::ListenerLost,
            error = answers => error,
            error = hears => error,
        }
    }

    /// Rings for all relays. Nobody rings where the notification queue is more than half full.
    pub(super) async fn ring(&self) -> Result<(), SourceError> {
        if ring_by(&self.client, AT_ONCE, "").await? == Rung::Locked
            && self.ring_in_the_queue(IN_THE_QUEUE, "").await? == Rung::Locked
        {
            return Err(SourceError::Unrung);
        }
        Ok(())
    }

    /// Rings, and waits until it has heard itself.
    async fn prove(&self, options: &SourceOptions) -> Result<(), SourceError> {
        if !self.hears {
            return Ok(());
        }
        let mut rung = patiently(options, async {
            Ok(ring_by(&self.client, AT_ONCE, &self.word).await?)
        })
        .await?;
        if rung == Rung::Locked {
            match self.ring_in_the_queue(options.silence, &self.word).await {
                Ok(late) if late != Rung::Locked => rung = late,
                unproven => {
                    tracing::debug!(?unproven, "it could not be proven that the bell is heard");
                    return Ok(());
                }
            }
        }
        if rung == Rung::QueueIsFull {
            tracing::warn!(
                "the notification queue of the database is more than half full, so nobody rings and the relay \
                 looks by the clock; a session that has issued LISTEN and keeps a transaction open holds it up"
            );
            return Ok(());
        }
        let hearing = self.heard.probe.notified();
        let heard = timeout(options.silence, hearing).await;
        heard.map_err(|_| SourceError::Deaf)
    }

    /// By a session of its own, for which nothing else waits. It ends by itself, or the server would soon be full of them.
    async fn ring_in_the_queue(&self, limit: Duration, word: &str) -> Result<Rung, SourceError> {
        let asking = async {
            let (client, connection) = self.config.connect("bellwether ringer").await?;
            match select(pin!(ring_by(&client, limit, word)), pin!(connection)).await {
                Either::Left((rung, _)) => Ok(rung?),
                Either::Right((Err(error), _)) => Err(error.into()),
                Either::Right((Ok(()), _)) => Err(SourceError::Unrung),
            }
        };
        let answered = timeout(limit * 2, asking).await;
        answered.unwrap_or(Err(SourceError::NoAnswer(limit * 2)))
    }
}

/// Rings in one message, which is one transaction. Nobody waits for its WAL: it has none that matters.
async fn ring_by(
    client: &Client,
    limit: Duration,
    word: &str,
) -> Result<Rung, tokio_postgres::Error> {
    let ring = format!(
        "SET LOCAL lock_timeout = {}; SET LOCAL synchronous_commit = off;
         SELECT pg_notify('{CHANNEL}', '{word}') WHERE pg_notification_queue_usage() < 0.5",
        limit.as_millis().max(1)
    );
    let is_row = |answer: &SimpleQueryMessage| matches!(answer, SimpleQueryMessage::Row(_));
    match client.simple_query(&ring).await {
        Ok(answers) if answers.iter().any(is_row) => Ok(Rung::Yes),
        Ok(_) => Ok(Rung::QueueIsFull),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(Rung::Locked),
        Err(error) => Err(error),
    }
}

/// Owns the socket: sorts what comes in until the session ends.
async fn drive(
    mut connection: PgConnection,
    word: String,
    heard: Arc<Heard>,
    lost: CancellationToken,
    end: CancellationToken,
) {
    let _lost = lost.drop_guard();
    let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
    loop {
        let message = tokio::select! {
            () = end.cancelled() => return,
            message = messages.next() => message,
        };
        match message {
            Some(Ok(AsyncMessage::Notification(notification)))
                if notification.payload() == word =>
            {
                heard.probe.notify_one();
            }
            Some(Ok(AsyncMessage::Notification(notification)))
                if notification.payload().starts_with(PROBE) => {}
            Some(Ok(AsyncMessage::Notification(_))) => heard.bell.notify_one(),
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the listening session failed"
                );
                return;
            }
            None => return,
        }
    }
}
