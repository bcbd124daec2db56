//! Who receives: a WebSocket subscriber of the relay, or the bare LISTEN session that people write by hand.
//!
//! Both do the same with what they get: take the clock, find the instants that the writing statements put into
//! `message`, and keep the differences. Writer and receiver are on one machine and so have one clock.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, NoTls};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::Outcome;

/// The channel of the trigger that people write by hand.
pub(crate) const NAIVE_CHANNEL: &str = "naive";
/// How long a relay may take until it is live.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a row looks like just before the instant.
const BEFORE_STAMP: &str = "\"message\":\"";

/// Ages of what was received, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Of the rows that [`super::probes`] writes.
    pub(crate) probes: Vec<f64>,
    /// Of the rows that pgbench writes.
    pub(crate) load: Vec<f64>,
}

impl Tally {
    fn record(&mut self, text: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0.0, |since| since.as_secs_f64() * 1e3);
        for (found, _) in text.match_indices(BEFORE_STAMP) {
            let stamp = &text[found + BEFORE_STAMP.len()..];
            let ages = match stamp.split_once(' ') {
                Some(("probe", _)) => &mut self.probes,
                Some(("load", _)) => &mut self.load,
                _ => continue,
            };
            let digits = stamp.split(['"', ' ']).nth(1).unwrap_or_default();
            if let Ok(microseconds) = digits.parse::<f64>() {
                ages.push(now - microseconds / 1e3);
            }
        }
    }
}

/// Somebody who receives. It is disconnected with this value.
pub(crate) struct Receiver {
    tally: Arc<Mutex<Tally>>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Subscribes, and waits until the relay is live and the subscription too.
    pub(crate) async fn subscribe(relay: SocketAddr, query: &str) -> Outcome<Self> {
        let url = format!("ws://{relay}/ws?{query}&snapshot=false");
        let connecting = async {
            loop {
                match connect_async(&url).await {
                    Ok((socket, _)) => return socket,
                    Err(_) => sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let mut socket = timeout(PATIENCE, connecting)
            .await
            .map_err(|_| "the relay does not answer")?;
        let (mut live, mut subscribed) = (false, false);
        while !(live && subscribed) {
            let frame = timeout(PATIENCE, socket.next())
                .await
                .map_err(|_| "the relay is not live")?;
            let frame = frame.ok_or("the relay closed the socket")??.into_text()?;
            live |= frame.contains(r#""status":"live""#);
            subscribed |= frame.contains(r#""type":"subscribed""#);
        }
        let tally = Arc::<Mutex<Tally>>::default();
        let recording = tally.clone();
        let task = tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Text(text) = message {
                    locked(&recording).record(&text);
                }
            }
        });
        Ok(Self { tally, task })
    }

    /// Listens as people do by hand.
    pub(crate) async fn listen(url: &str) -> Outcome<Self> {
        let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
        let tally = Arc::<Mutex<Tally>>::default();
        let recording = tally.clone();
        let task = tokio::spawn(async move {
            let mut messages =
                futures::stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(notification) = message {
                    locked(&recording).record(notification.payload());
                }
            }
        });
        client
            .batch_execute(&format!("LISTEN {NAIVE_CHANNEL}"))
            .await?;
        // The session ends when its client is dropped.
        let task = tokio::spawn(async move {
            let _client = client;
            // How it ended is told by the receiver being at its end.
            let _ = task.await;
        });
        Ok(Self { tally, task })
    }

    /// What was received since the last time.
    ///
    /// # Errors
    /// Where the connection has ended: what is missing then is nobody's age.
    pub(crate) fn take(&self) -> Outcome<Tally> {
        if self.task.is_finished() {
            return Err("a receiver has been cut off".into());
        }
        Ok(std::mem::take(&mut *locked(&self.tally)))
    }

    /// How many probes have been received since the last [`Self::take`].
    pub(crate) fn probes(&self) -> usize {
        locked(&self.tally).probes.len()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().expect("no holder of this lock panics")
}
