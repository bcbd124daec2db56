//! A session that listens for one word on the doorbell's channel.

use futures::StreamExt;
use tokio::sync::oneshot;
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::session::{APPLICATION_NAME, CheckError};
use crate::postgres::config::DatabaseConfig;
use crate::postgres::pool::PgConnection;

/// A listening session; dropping it ends the session.
pub(super) struct Hearing {
    /// Kept, because a connection ends with its client.
    client: Client,
    heard: oneshot::Receiver<()>,
    _end: DropGuard,
}

impl Hearing {
    /// Connects and listens for `word`.
    pub(super) async fn start(
        config: &DatabaseConfig,
        channel: &str,
        word: &str,
    ) -> Result<Self, CheckError> {
        let (client, connection) = config.connect(APPLICATION_NAME).await?;
        let (hears, heard) = oneshot::channel();
        let end = CancellationToken::new();
        tokio::spawn(drive(connection, word.to_owned(), hears, end.clone()));
        let hearing = Self {
            client,
            heard,
            _end: end.drop_guard(),
        };
        hearing
            .client
            .batch_execute(&format!("LISTEN {channel}"))
            .await?;
        Ok(hearing)
    }

    /// Resolves with `true` once the word was heard, with `false` if the session was lost before.
    pub(super) async fn word(&mut self) -> bool {
        (&mut self.heard).await.is_ok()
    }
}

/// Owns the socket until the word has come or the session has ended.
async fn drive(
    mut connection: PgConnection,
    word: String,
    hears: oneshot::Sender<()>,
    end: CancellationToken,
) {
    let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
    let listening = async {
        while let Some(Ok(message)) = messages.next().await {
            if matches!(message, AsyncMessage::Notification(rung) if rung.payload() == word) {
                return true;
            }
        }
        false
    };
    tokio::select! {
        () = end.cancelled() => {}
        heard = listening => if heard {
            // Nobody waits any more: the check was given up.
            let _ = hears.send(());
            end.cancelled().await;
        }
    }
}
