//! One connection, whatever carries it: what it has subscribed, and what it is to be sent next.
//!
//! A session is pulled: [`Session::next`] waits until there is something to send, [`Session::hear`] answers a client's
//! message. It touches no socket, so a slow one only slows its own pulling.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast};
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::arrival::{Arrival, arrive};
use super::protocol::{
    BadRequest, ClientMessage, CloseReason, MAX_NAME_BYTES, PROTOCOL, ReconnectHints,
    ServerMessage, SubscribeMessage, Subscription, read,
};
use crate::hub::presence::Visit;
use crate::hub::{Frame, Hub, Log, Outgoing, Status, Subscriber, Wanted};

/// The relay's name and version, as `hello` says it.
const SERVER: &str = concat!("bellwether/", env!("CARGO_PKG_VERSION"));
/// Most subscriptions on one connection.
const MAX_SUBSCRIPTIONS: usize = 64;

/// What every session needs.
#[derive(Clone)]
pub(crate) struct SessionContext {
    /// Where the events come from.
    pub(crate) hub: Hub,
    /// Where older ones come from.
    pub(crate) log: Arc<dyn Log>,
    /// How often a subscription is told up to when it is complete.
    pub(crate) heartbeat: Duration,
    /// Cancelled when the relay stops.
    pub(crate) stop: CancellationToken,
}

/// Frames to send, and then perhaps the end.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) frames: Vec<Frame>,
    pub(crate) close: Option<CloseReason>,
}

impl Output {
    fn closing(reason: CloseReason) -> Self {
        Self {
            frames: vec![reason.frame()],
            close: Some(reason),
        }
    }

    fn one(message: &ServerMessage<'_>) -> Self {
        Self {
            frames: vec![message.frame()],
            close: None,
        }
    }
}

/// A subscription of this connection. Dropping it stops its arrival.
struct Held {
    wanted: Wanted,
    /// Whether it is not live yet; and what it has until then, where that is a place to resume from.
    on_its_way: bool,
    cursor: Option<Arc<str>>,
    _arriving: DropGuard,
}

/// One connection.
pub(crate) struct Session {
    context: SessionContext,
    subscriber: Arc<Subscriber>,
    visit: Visit,
    /// What has been subscribed, also what has not arrived yet.
    subscriptions: Vec<Held>,
    arrivals: SelectAll<BoxStream<'static, (Arc<str>, Arrival)>>,
    /// Held by the one subscription for which the log is read.
    turn: Arc<Semaphore>,
    /// Every change is told, however quickly the next one follows.
    changes: broadcast::Receiver<Status>,
    /// The status that was told last.
    told: Option<Status>,
    heartbeat: Interval,
    greeted: bool,
}

impl Session {
    /// A session with the subscription that the connection's own query describes, if any.
    pub(crate) fn new(context: SessionContext, visit: Visit, first: Option<Subscription>) -> Self {
        let begin = Instant::now() + context.heartbeat;
        let mut heartbeat = interval_at(begin.into(), context.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut session = Self {
            subscriber: Arc::new(context.hub.connect()),
            changes: context.hub.status_changes(),
            told: None,
            visit,
            subscriptions: Vec::new(),
            arrivals: SelectAll::new(),
            turn: Arc::new(Semaphore::new(1)),
            heartbeat,
            greeted: false,
            context,
        };
        if let Some(first) = first {
            session.begin(first);
        }
        session
    }

    /// Waits for the next frames. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Output {
        if !self.greeted {
            self.greeted = true;
            return self.greet();
        }
        tokio::select! {
            biased;
            () = self.context.stop.cancelled() => Output::closing(CloseReason::Stopping),
            changed = self.changes.recv() => self.changed(changed),
            Some((sub, arrival)) = self.arrivals.next(), if !self.arrivals.is_empty() => self.arrived(&sub, arrival),
            _ = self.heartbeat.tick() => self.tick(),
            () = self.subscriber.ready() => {
                let outgoing = self.subscriber.take();
                self.outgoing(outgoing)
            }
        }
    }

    /// Answers a client's text.
    pub(crate) fn hear(&mut self, text: &str) -> Output {
        let (sub, answer) = match read(text) {
            Ok(ClientMessage::Ping) => return Output::one(&ServerMessage::Pong),
            Ok(ClientMessage::Auth { .. }) => {
                return refused(None, "unsupported", "this relay asks for no token");
            }
            Ok(ClientMessage::Subscribe(message)) => (message.id.clone(), self.subscribe(message)),
            Ok(ClientMessage::Unsubscribe { id }) => {
                return if self.end(&id) {
                    Output::one(&ServerMessage::Unsubscribed { sub: &id })
                } else {
                    refused(
                        Some(&id),
                        "unknown_subscription",
                        "id: there is no subscription of that name",
                    )
                };
            }
            Err(error) => return refused(None, "bad_request", &error.to_string()),
        };
        match answer {
            Ok(()) => Output::default(),
            Err(error) => refused(Some(&sub), "bad_request", &error.to_string()),
        }
    }

    /// Records a measured round trip to the client.
    pub(crate) fn measured(&self, latency: Duration) {
        self.visit.measured(latency.as_secs_f64() * 1_000.0);
    }

    fn greet(&mut self) -> Output {
        let hello = ServerMessage::Hello {
            protocol: PROTOCOL,
            connection_id: self.visit.id(),
            server: SERVER,
            heartbeat_interval_ms: u64::try_from(self.context.heartbeat.as_millis())
                .unwrap_or(u64::MAX),
            reconnect: ReconnectHints::default(),
        };
        let hello = hello.frame();
        // From here on, and then the present one: none in between is missed.
        self.changes = self.changes.resubscribe();
        let mut output = self.tell(self.context.hub.status().borrow().clone());
        output.frames.insert(0, hello);
        output
    }

    fn changed(&mut self, changed: Result<Status, RecvError>) -> Output {
        match changed {
            Ok(status) => self.tell(status),
            Err(_) => self.tell(self.context.hub.status().borrow().clone()),
        }
    }

    /// Tells a status, unless it is the one that was told last.
    fn tell(&mut self, status: Status) -> Output {
        if self.told.as_ref() == Some(&status) {
            return Output::default();
        }
        let output = Output::one(&ServerMessage::Status(&status));
        self.told = Some(status);
        output
    }

    /// Begins the subscription, or replaces the one of the same name.
    fn subscribe(&mut self, message: SubscribeMessage) -> Result<(), BadRequest> {
        let subscription = message.check()?;
        let replaces = self
            .subscriptions
            .iter()
            .any(|held| held.wanted.sub == subscription.wanted.sub);
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS && !replaces {
            return Err(BadRequest::TooManySubscriptions(MAX_SUBSCRIPTIONS));
        }
        self.end(&subscription.wanted.sub.clone());
        self.begin(subscription);
        Ok(())
    }

    fn begin(&mut self, subscription: Subscription) {
        let arriving = CancellationToken::new();
        let ended = arriving.clone().cancelled_owned();
        let sub = subscription.wanted.sub.clone();
        self.subscriptions.push(Held {
            wanted: subscription.wanted.clone(),
            on_its_way: true,
            cursor: None,
            _arriving: arriving.drop_guard(),
        });
        let (hub, log) = (self.context.hub.clone(), self.context.log.clone());
        let (turn, subscriber) = (self.turn.clone(), self.subscriber.clone());
        let steps = arrive(hub, log, turn, subscriber, subscription)
            .map(move |arrival| (sub.clone(), arrival));
        self.arrivals.push(steps.take_until(ended).boxed());
    }

    fn end(&mut self, sub: &str) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions.retain(|held| &*held.wanted.sub != sub);
        self.subscriber.unsubscribe(sub);
        self.subscriptions.len() < before
    }

    /// A subscription has come a step further. One that is live is told at once up to when it is complete.
    fn arrived(&mut self, sub: &str, arrival: Arrival) -> Output {
        let subscriptions = &mut self.subscriptions;
        let Some(held) = subscriptions
            .iter_mut()
            .find(|held| &*held.wanted.sub == sub)
        else {
            return Output::default();
        };
        match arrival {
            Arrival::Frames(frames) => {
                held.cursor = frames.last().and_then(|frame| frame.cursor.clone());
                Output {
                    frames,
                    close: None,
                }
            }
            Arrival::Replayed(frame, cursor) => {
                held.cursor = Some(cursor);
                Output {
                    frames: frame.into_iter().collect(),
                    close: None,
                }
            }
            Arrival::Close(reason) => Output::closing(reason),
            Arrival::Live(mut frames) => {
                held.on_its_way = false;
                let mut beat = self.beat();
                frames.append(&mut beat.frames);
                Output {
                    frames,
                    close: beat.close,
                }
            }
        }
    }

    /// Each subscription hears something: how complete it is, or that it is not.
    fn tick(&mut self) -> Output {
        let mut output = self.beat();
        if output.close.is_none() {
            let on_their_way = self.subscriptions.iter().filter(|held| held.on_its_way);
            output.frames.extend(on_their_way.map(|held| {
                let (sub, cursor) = (&*held.wanted.sub, held.cursor.as_ref());
                ServerMessage::CatchingUp { sub, cursor }.frame()
            }));
        }
        output
    }

    fn beat(&mut self) -> Output {
        let (outgoing, heartbeats) = self.subscriber.take_with_heartbeats();
        let mut output = self.outgoing(outgoing);
        if output.close.is_none() {
            output.frames.extend(
                heartbeats
                    .iter()
                    .map(|heartbeat| ServerMessage::Heartbeat(heartbeat).frame()),
            );
        }
        output
    }

    /// What has been taken out of the outbox is sent, whatever comes after it.
    fn outgoing(&self, outgoing: Vec<Outgoing>) -> Output {
        let mut output = Output::default();
        for item in outgoing {
            match item {
                Outgoing::Frame(frame) => output.frames.push(frame),
                Outgoing::Overflow => output.close = Some(CloseReason::SlowConsumer),
                Outgoing::Reset(sub, reason) => {
                    let Some(held) = self
                        .subscriptions
                        .iter()
                        .find(|held| held.wanted.sub == sub)
                    else {
                        continue;
                    };
                    output.frames.push(
                        ServerMessage::Reset {
                            sub: &sub,
                            reason,
                            message: reason.message(),
                        }
                        .frame(),
                    );
                    output.frames.extend(self.subscriber.resync(&held.wanted));
                }
            }
        }
        output.frames.extend(output.close.map(CloseReason::frame));
        output
    }
}

/// A name that no subscription can have is not repeated: it may be as long as a message.
fn refused(sub: Option<&str>, code: &'static str, message: &str) -> Output {
    let sub = sub.filter(|sub| sub.len() <= MAX_NAME_BYTES);
    Output::one(&ServerMessage::Error { sub, code, message })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::FutureExt;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::cursor::{Cursor, Epoch, Snapshot, Within};
    use crate::event::tests::operation_event;
    use crate::hub::mirror::{Mirror, MirrorLimits};
    use crate::hub::presence::{Client, Presence};
    use crate::hub::{Completeness, HubLimits, Origin, ReplayError, Replayed, ResetReason};

    const OLD: &str = "100:100:";
    const NOW: &str = "110:110:";

    fn at(text: &str) -> Cursor {
        Cursor::at(Epoch(1), Snapshot::parse(text).expect("a snapshot"))
    }

    /// A log of one event after which it waits until it is let on. It remembers how often it was asked.
    struct SlowLog {
        asked: Mutex<usize>,
        /// A permit lets one reader come to its end.
        end: Arc<Semaphore>,
    }

    impl SlowLog {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                asked: Mutex::default(),
                end: Arc::new(Semaphore::new(0)),
            })
        }

        fn asked(&self) -> usize {
            *self.asked.lock().expect("no panic")
        }
    }

    impl Log for SlowLog {
        fn replay(
            &self,
            _: Arc<Cursor>,
            _: Arc<Cursor>,
        ) -> BoxStream<'static, Result<Replayed, ReplayError>> {
            *self.asked.lock().expect("no panic") += 1;
            let end = self.end.clone();
            let reading = async move {
                end.acquire().await.expect("never closed").forget();
                futures::stream::empty()
            };
            let event = operation_event(1, "a", 1, "operation.progress", "in_progress", None);
            let first = futures::stream::iter([Ok(Replayed {
                events: vec![event],
                last_id: 1,
            })]);
            first
                .chain(futures::stream::once(reading).flatten())
                .boxed()
        }
    }

    /// A hub that has forgotten everything before now.
    fn forgetful_hub() -> Hub {
        let limits = HubLimits {
            ring_bytes: 0,
            ..HubLimits::default()
        };
        let hub = Hub::new(limits);
        let complete = || Completeness {
            as_of: "2026-01-01T00:00:00Z".into(),
            learnt: Instant::now(),
        };
        let origin = Origin {
            mirror: Mirror::new(MirrorLimits::default()),
            cursor: at(OLD),
            recent: Vec::new(),
            recent_from: at(OLD),
            complete: complete(),
        };
        hub.install(origin, ResetReason::CursorForeign);
        let event = operation_event(1, "a", 1, "operation.progress", "in_progress", None);
        hub.publish(at(NOW), vec![event], Some(complete()));
        hub
    }

    const HEARTBEAT: Duration = Duration::from_secs(3600);

    fn session(hub: &Hub, log: &Arc<SlowLog>) -> Session {
        let context = SessionContext {
            hub: hub.clone(),
            log: log.clone(),
            heartbeat: HEARTBEAT,
            stop: CancellationToken::new(),
        };
        let client = Client {
            transport: "websocket",
            address: None,
            user_agent: None,
            latency_ms: None,
        };
        Session::new(context, Presence::default().join(client), None)
    }

    fn resume(session: &mut Session, sub: &str) {
        let since = at(OLD).encode();
        let message = format!(
            r#"{{"type":"subscribe","id":"{sub}","topics":["operations"],"mode":"every","since":"{since}"}}"#
        );
        assert!(session.hear(&message).frames.is_empty(), "not refused");
    }

    /// What the session has to send now, until it would have to wait.
    fn sent(session: &mut Session) -> Vec<&'static str> {
        let mut kinds = Vec::new();
        // Without a budget, which nobody renews here.
        while let Some(output) = tokio::task::unconstrained(session.next()).now_or_never() {
            kinds.extend(output.frames.iter().map(|frame| frame.kind));
        }
        kinds
    }

    #[tokio::test]
    async fn the_log_is_read_for_one_subscription_of_a_connection_after_the_other() {
        let (hub, log) = (forgetful_hub(), SlowLog::new());
        let mut greedy = session(&hub, &log);
        for number in 0..MAX_SUBSCRIPTIONS {
            resume(&mut greedy, &format!("s{number}"));
        }
        let told = sent(&mut greedy);
        let subscribed = told.iter().filter(|kind| **kind == "subscribed").count();
        assert_eq!(subscribed, MAX_SUBSCRIPTIONS, "none waits to be told so");
        assert_eq!(log.asked(), 1);
        let mut modest = session(&hub, &log);
        resume(&mut modest, "s");
        sent(&mut modest);
        assert_eq!(log.asked(), 2, "another connection has its turn at once");

        log.end.add_permits(1);
        assert!(
            sent(&mut greedy).contains(&"heartbeat"),
            "the first is live"
        );
        assert_eq!(log.asked(), 3, "and the next one reads");
        let ended = r#"{"type":"unsubscribe","id":"s1"}"#;
        assert_eq!(greedy.hear(ended).frames[0].kind, "unsubscribed");
        log.end.add_permits(MAX_SUBSCRIPTIONS);
        sent(&mut greedy);
        assert!(
            log.asked() >= MAX_SUBSCRIPTIONS,
            "all that are left had theirs"
        );
    }

    /// The next frames, once the time of the next heartbeat has come.
    async fn beaten(session: &mut Session) -> Vec<serde_json::Value> {
        let output = tokio::time::timeout(HEARTBEAT * 2, session.next()).await;
        let frames = output.expect("a sign of life").frames;
        let read = |frame: &Frame| serde_json::from_str(&frame.json).expect("frames are JSON");
        frames.iter().map(read).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscription_on_its_way_gives_a_sign_of_life_that_is_no_heartbeat() {
        let (hub, log) = (forgetful_hub(), SlowLog::new());
        let mut session = session(&hub, &log);
        let since = at(OLD).encode();
        for sub in ["first", "second"] {
            // Nothing of what is read is for them.
            let message = format!(
                r#"{{"type":"subscribe","id":"{sub}","topics":["operations"],"operation_id":["00000000-0000-4000-8000-000000000000"],"mode":"every","since":"{since}"}}"#
            );
            assert!(session.hear(&message).frames.is_empty(), "not refused");
        }
        let told = sent(&mut session);
        assert!(!told.contains(&"events"), "{told:?}");

        let frames = beaten(&mut session).await;
        let [first, second] = &frames[..] else {
            panic!("one for each subscription: {frames:?}");
        };
        for (frame, sub) in [(first, "first"), (second, "second")] {
            assert_eq!(
                (&frame["type"], &frame["sub"]),
                (&"catching_up".into(), &sub.into())
            );
        }
        let cursor = Cursor::decode(first["cursor"].as_str().expect("a cursor"));
        let within = cursor
            .expect("a cursor")
            .within
            .expect("inside the interval");
        assert_eq!(within.last_id, 1, "it has what was not for it");
        assert_eq!(second["cursor"], since, "it waits for its turn");

        log.end.add_permits(2);
        sent(&mut session);
        let frames = beaten(&mut session).await;
        assert!(
            frames.iter().all(|frame| frame["type"] == "heartbeat"),
            "{frames:?}"
        );
    }

    #[tokio::test]
    async fn a_reader_inside_the_interval_that_the_relay_is_inside_of_waits_for_its_end() {
        let (hub, log) = (forgetful_hub(), SlowLog::new());
        let later = Snapshot::parse("120:120:").expect("a snapshot");
        let inside = |seen, last_id| Cursor {
            within: Some(Within {
                to: later.clone(),
                last_id,
            }),
            ..at(seen)
        };
        hub.publish(inside(NOW, 9), Vec::new(), None);
        let mut session = session(&hub, &log);
        let since = inside(OLD, 5).encode();
        let message = format!(
            r#"{{"type":"subscribe","id":"s","topics":["operations"],"mode":"every","since":"{since}"}}"#
        );
        assert!(session.hear(&message).frames.is_empty(), "not refused");
        sent(&mut session);
        assert_eq!(log.asked(), 0, "what it has of the interval would be lost");
        hub.publish(at("120:120:"), Vec::new(), None);
        sent(&mut session);
        assert_eq!(log.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_relay_without_a_database_hears_of_it() {
        let hub = Hub::new(HubLimits::default());
        let mut session = session(&hub, &SlowLog::new());
        let subscribe = r#"{"type":"subscribe","id":"s","topics":["operations"]}"#;
        assert!(session.hear(subscribe).frames.is_empty(), "not refused");
        sent(&mut session);
        for _ in 0..2 {
            let catching_up = serde_json::json!({ "type": "catching_up", "sub": "s" });
            assert_eq!(beaten(&mut session).await, [catching_up]);
        }
    }
}
