//! The session that hears the doorbell.
//!
//! It is driven by `poll_message`: a session whose connection is merely awaited discards its notifications. A listener
//! that is cut off and a quiet table look the same, so it proves every few seconds that it hears, by ringing with a
//! word of its own that must come back. Behind a transaction pooler nobody can hear anything: there it only proves that
//! somebody answers, and the reader looks by the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client};
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

/// Not into a queue that is more than half full, since a full one would refuse it: then nobody else rings either.
const RING: &str = "SELECT pg_notify($1, $2) WHERE pg_notification_queue_usage() < 0.5";

/// A session that listens; dropping it ends the session.
pub(super) struct Listener {
    client: Arc<Client>,
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
            client: Arc::new(client),
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
    pub(super) fn client(&self) -> Arc<Client> {
        self.client.clone()
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
        let doubt = async {
            loop {
                sleep(options.probe).await;
                let holds = timeout(options.silence, ground.holds(&self.client)).await;
                if let Err(error) = holds.unwrap_or(Err(SourceError::NoAnswer(options.silence))) {
                    return error;
                }
                if let Err(error) = self.prove(options).await {
                    return error;
                }
            }
        };
        tokio::select! {
            () = self.lost.cancelled() => SourceError::ListenerLost,
            error = doubt => error,
        }
    }

    /// Rings, and waits until it has heard itself.
    async fn prove(&self, options: &SourceOptions) -> Result<(), SourceError> {
        if !self.hears {
            return Ok(());
        }
        let is_answered = AtomicBool::new(false);
        let hear = async {
            let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
                [(&CHANNEL, Type::TEXT), (&self.word, Type::TEXT)];
            let rung = self.client.query_typed_opt(RING, &parameters).await?;
            is_answered.store(true, Ordering::Relaxed);
            match rung {
                Some(_) => self.heard.probe.notified().await,
                None => tracing::warn!(
                    "the notification queue of the database is more than half full, so nobody rings and the relay \
                     looks by the clock; a session that has issued LISTEN and keeps a transaction open holds it up"
                ),
            }
            Ok(())
        };
        match timeout(options.silence, hear).await {
            Ok(outcome) => outcome,
            Err(_) if is_answered.load(Ordering::Relaxed) => Err(SourceError::Deaf),
            Err(_) => Err(SourceError::NoAnswer(options.silence)),
        }
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
