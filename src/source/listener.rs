//! The session that hears the doorbell.
//!
//! It is driven by `poll_message`: a session whose connection is merely awaited discards its notifications. A listener
//! that is cut off and a quiet table look the same, so it proves every few seconds that it hears, by ringing with a
//! word of its own that must come back.

use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::{SourceError, SourceOptions, patiently};
use crate::postgres::config::DatabaseConfig;
use crate::postgres::pool::PgConnection;

/// The NOTIFY channel. What it carries says nothing; it means "look".
pub(crate) const CHANNEL: &str = "bellwether";

/// What begins like this was rung to prove that somebody hears, and no event is behind it.
pub(crate) const PROBE: &str = "probe ";

/// A session that listens; dropping it ends the session.
pub(super) struct Listener {
    client: Arc<Client>,
    heard: Arc<Heard>,
    word: String,
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
    /// Connects and listens.
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
        let listen = async { Ok(client.batch_execute(&format!("LISTEN {CHANNEL}")).await?) };
        patiently(options, listen).await?;
        Ok(Self {
            client: Arc::new(client),
            heard,
            word,
            lost,
            _end: end.drop_guard(),
        })
    }

    /// The session itself, for small statements.
    pub(super) fn client(&self) -> Arc<Client> {
        self.client.clone()
    }

    /// Resolves when somebody has rung since the last time.
    pub(super) async fn rung(&self) {
        self.heard.bell.notified().await;
    }

    /// Resolves when the session is lost or does not hear itself any more.
    pub(super) async fn watch(&self, options: &SourceOptions) -> SourceError {
        let deaf = async {
            loop {
                sleep(options.probe).await;
                let ring = async {
                    Ok(self
                        .client
                        .execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &self.word])
                        .await?)
                };
                if let Err(error) = patiently(options, ring).await {
                    return error;
                }
                if timeout(options.patience, self.heard.probe.notified())
                    .await
                    .is_err()
                {
                    return SourceError::Deaf;
                }
            }
        };
        tokio::select! {
            () = self.lost.cancelled() => SourceError::ListenerLost,
            error = deaf => error,
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
