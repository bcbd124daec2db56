//! One connection to the relay, from the handshake to its end. It decides nothing about rows (see [`super::state`]) but
//! tells apart the ends that are worth another try from those that are not.

use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::{Error, Message, error::CapacityError, protocol::CloseFrame};
use tokio_util::sync::CancellationToken;

use super::{
    TailError,
    address::Address,
    connect::{Loss, Socket, connect},
    contact::{Link, Now},
    effect::Effect,
    frame::Frame,
    lookup::look_up,
    output::Output,
    state::State,
    text::{length, safe},
};

/// The version of the protocol that this program speaks.
const PROTOCOL: u32 = 1;
/// How often the screen is brought up to date.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);
/// After so many intervals of heartbeats without anything at all, the connection is given up.
const LOST_AFTER: u32 = 3;
/// How long the relay may take to hear a goodbye.
const FAREWELL_LIMIT: Duration = Duration::from_millis(500);
/// Close codes after which another try would meet the same answer.
const FINAL_CODES: [u16; 2] = [4000, 4003];
/// As much of what the relay says is shown, in characters.
pub(super) const LONGEST_ANSWER: usize = 300;

/// How a connection ended, where it makes sense to go on or to be content.
#[derive(Debug)]
pub(super) enum End {
    /// We were told to stop.
    Stopped,
    /// All that was wanted has happened.
    Finished,
    /// It was lost, or never came about.
    Lost(Loss),
}

/// Connects, and follows until the end.
///
/// # Errors
/// Where another try would meet the same answer, and where the output can not be written.
pub(super) async fn follow(
    address: &Address,
    snapshot: bool,
    state: &mut State,
    output: &mut Output,
    stop: &CancellationToken,
) -> Result<End, TailError> {
    let since = state.cursor.clone();
    let url = address.socket(since.as_deref(), snapshot);
    let connected = tokio::select! {
        () = stop.cancelled() => return Ok(End::Stopped),
        connected = connect(&url) => connected?,
    };
    let socket = match connected {
        Ok(socket) => socket,
        Err(loss) => return Ok(End::Lost(loss)),
    };
    if matches!(state.contact.link, Link::Down { .. }) {
        output.note(format!("connected to {}", address.relay()))?;
    }
    state.connected(Now::read(), since.is_none() && snapshot);
    let mut session = Session {
        address,
        state,
        output,
        socket,
        last_heard: Instant::now(),
        refusal: None,
        loss: Loss::default(),
    };
    session.run(stop).await
}

struct Session<'a> {
    address: &'a Address,
    state: &'a mut State,
    output: &'a mut Output,
    socket: Socket,
    /// When anything at all last came.
    last_heard: Instant,
    /// What the relay last said to be wrong.
    refusal: Option<String>,
    /// What is known of the loss before it happens; a reason that the relay gave counts more than what is seen here.
    loss: Loss,
}

impl Session<'_> {
    async fn run(&mut self, stop: &CancellationToken) -> Result<End, TailError> {
        let mut draw = interval(DRAW_INTERVAL);
        draw.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let end = tokio::select! {
                () = stop.cancelled() => Some(End::Stopped),
                message = self.socket.next() => self.hear(message).await?,
                _ = draw.tick() => {
                    self.output.draw(self.state);
                    self.give_up_when_silent()
                }
            };
            if let Some(end) = end {
                let _ = timeout(FAREWELL_LIMIT, self.socket.close(None)).await;
                return Ok(end);
            }
        }
    }

    async fn hear(
        &mut self,
        message: Option<Result<Message, Error>>,
    ) -> Result<Option<End>, TailError> {
        self.last_heard = Instant::now();
        match message {
            Some(Ok(Message::Text(text))) => self.read(&text).await,
            Some(Ok(Message::Close(frame))) => self.closed(frame).map(Some),
            Some(Ok(_)) => Ok(None),
            Some(Err(Error::Capacity(CapacityError::MessageTooLong { size, .. }))) => Ok(Some(
                self.lost(format!("the relay sent a message of {size} bytes")),
            )),
            Some(Err(error)) => Ok(Some(self.lost(error.to_string()))),
            None => Ok(Some(self.lost("the connection was closed".to_owned()))),
        }
    }

    async fn read(&mut self, text: &str) -> Result<Option<End>, TailError> {
        let frame = match Frame::read(text) {
            Ok(frame) => frame,
            Err(error) => {
                return Ok(Some(
                    self.lost(format!("what came is not the protocol: {error}")),
                ));
            }
        };
        match &frame {
            Frame::Hello(hello) if hello.protocol != PROTOCOL => {
                return Err(TailError::Protocol {
                    theirs: hello.protocol,
                    ours: PROTOCOL,
                });
            }
            Frame::Hello(hello) => self.loss.hints = hello.reconnect,
            Frame::Error(refusal) => {
                let said = [&refusal.message, &refusal.code];
                self.refusal = said.into_iter().find(|said| !said.is_empty()).cloned();
            }
            Frame::Closing(closing) => {
                self.loss.reason = format!("{} ({})", closing.reason, closing.code);
                self.loss.retry_after = closing.retry_after_ms.map(Duration::from_millis);
            }
            Frame::Snapshot(_) | Frame::Events(_) | Frame::Heartbeat(_) => {
                self.loss.had_worked = true
            }
            Frame::Status(_)
            | Frame::Subscribed(_)
            | Frame::CatchingUp(_)
            | Frame::Reset(_)
            | Frame::Other => {}
        }
        let effects = self.state.apply(frame, Now::read());
        self.tell(effects).await
    }

    async fn tell(&mut self, effects: Vec<Effect>) -> Result<Option<End>, TailError> {
        self.output.show(&effects).await?;
        let is_finished = |effects: &[Effect]| {
            effects
                .iter()
                .any(|effect| matches!(effect, Effect::Finished))
        };
        if is_finished(&effects) {
            return Ok(Some(End::Finished));
        }
        for effect in effects {
            let Effect::LookUp(ids) = effect else {
                continue;
            };
            for id in ids {
                let Some(answer) = look_up(self.address, &id).await else {
                    continue;
                };
                let learnt = self.state.looked_up(&id, answer);
                self.output.show(&learnt).await?;
                if is_finished(&learnt) {
                    return Ok(Some(End::Finished));
                }
            }
        }
        Ok(None)
    }

    fn closed(&mut self, frame: Option<CloseFrame>) -> Result<End, TailError> {
        let Some(frame) = frame else {
            return Ok(self.lost("the relay closed the connection".to_owned()));
        };
        let code = u16::from(frame.code);
        let reason = safe(&frame.reason, LONGEST_ANSWER);
        if FINAL_CODES.contains(&code) {
            let said = self
                .refusal
                .take()
                .map(|refusal| safe(&refusal, LONGEST_ANSWER));
            return Err(TailError::Closed {
                code,
                reason: said.unwrap_or(reason),
            });
        }
        Ok(self.lost(format!(
            "the relay closed the connection: {reason} ({code})"
        )))
    }

    fn give_up_when_silent(&mut self) -> Option<End> {
        let silent = self.last_heard.elapsed();
        (silent > self.state.contact.heartbeat_interval() * LOST_AFTER).then(|| {
            self.lost(format!(
                "nothing heard of the relay for {}",
                length(silent.as_secs_f64())
            ))
        })
    }

    fn lost(&mut self, reason: String) -> End {
        let mut loss = std::mem::take(&mut self.loss);
        if loss.reason.is_empty() {
            loss.reason = reason;
        }
        End::Lost(loss)
    }
}
