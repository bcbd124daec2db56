//! `GET /ws`: a session on a WebSocket.

use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use tokio::time::{interval, timeout};
use warp::ws::{Message, WebSocket};

use super::protocol::CloseReason;
use super::session::{Output, Session};

/// Largest message that a client may send, in bytes.
pub(super) const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// A socket that takes not even one frame in this long is given up.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// A client that has been told that the connection is closed may take this long to read so far,
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
/// and this long where the relay stops, which must not wait for those who do not read.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// How often the client is pinged.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A client of which nothing was heard for this long is given up: three unanswered pings.
const IDLE_PATIENCE: Duration = Duration::from_secs(45);

/// Serves one socket until either side ends it.
pub(super) async fn serve(socket: WebSocket, mut session: Session) {
    let mut link = Link {
        socket,
        last_heard: Instant::now(),
        pinged: None,
    };
    let mut ping = interval(PING_INTERVAL);
    loop {
        // Inputs: what the client says, what the session has to send, and the clock.
        // In this order: a client that has answered while a long output was sent is not given up as silent.
        let output = tokio::select! {
            biased;
            message = link.socket.next() => match message {
                Some(Ok(message)) if !message.is_close() => link.heard(&message, &mut session),
                _ => return,
            },
            output = session.next() => output,
            _ = ping.tick() => {
                if link.last_heard.elapsed() > IDLE_PATIENCE {
                    Output { frames: vec![CloseReason::Idle.frame()], close: Some(CloseReason::Idle) }
                } else {
                    if link.ping().await.is_none() {
                        return;
                    }
                    Output::default()
                }
            }
        };
        let close = output.close;
        if link.send(output).await.is_none() {
            return;
        }
        if let Some(reason) = close {
            drop(session);
            return link.part(reason).await;
        }
    }
}

/// Ends a socket that cannot be served, in words that the client can read.
pub(super) async fn refuse(socket: WebSocket, reason: CloseReason, message: &str) {
    let error = super::protocol::ServerMessage::Error {
        sub: None,
        code: "bad_request",
        message,
    };
    let frames = vec![error.frame(), reason.frame()];
    let mut link = Link {
        socket,
        last_heard: Instant::now(),
        pinged: None,
    };
    let sent = link.send(Output {
        frames,
        close: Some(reason),
    });
    if sent.await.is_some() {
        link.part(reason).await;
    }
}

/// The socket, and what is known of the other end.
struct Link {
    socket: WebSocket,
    last_heard: Instant,
    /// When the ping that has not been answered yet was sent.
    pinged: Option<Instant>,
}

impl Link {
    /// Takes in a message of the client.
    fn heard(&mut self, message: &Message, session: &mut Session) -> Output {
        self.last_heard = Instant::now();
        if message.is_pong()
            && let Some(sent) = self.pinged.take()
        {
            session.measured(sent.elapsed());
        }
        message
            .to_str()
            .map(|text| session.hear(text))
            .unwrap_or_default()
    }

    async fn ping(&mut self) -> Option<()> {
        self.pinged = Some(Instant::now());
        timeout(WRITE_PATIENCE, self.socket.send(Message::ping(Vec::new())))
            .await
            .ok()?
            .ok()
    }

    /// Sends everything in one flush; `None` where the connection is over.
    async fn send(&mut self, output: Output) -> Option<()> {
        if output.frames.is_empty() && output.close.is_none() {
            return Some(());
        }
        let texts = output
            .frames
            .iter()
            .map(|frame| Message::text(&*frame.json));
        let close = output
            .close
            .map(|reason| Message::close_with(reason.code(), reason.text()));
        for message in texts.chain(close) {
            timeout(WRITE_PATIENCE, self.socket.feed(message))
                .await
                .ok()?
                .ok()?;
        }
        timeout(WRITE_PATIENCE, self.socket.flush())
            .await
            .ok()?
            .ok()
    }

    /// Waits until the client has closed too. A connection that is let go of with something of the client's unread takes
    /// back what the system has not sent yet, and with it the word that it is closed, and why.
    async fn part(mut self, reason: CloseReason) {
        let patience = match reason {
            CloseReason::Stopping => STOP_PATIENCE,
            _ => CLOSE_PATIENCE,
        };
        let reading = async { while let Some(Ok(_)) = self.socket.next().await {} };
        // Whoever does not answer has been told all the same.
        let _ = timeout(patience, reading).await;
    }
}
