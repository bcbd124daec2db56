//! A relay in the test's own process, and subscribers on real sockets.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bellwether::app;
use bellwether::cli::{Cli, Command};
use clap::Parser;
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};
use tokio_util::sync::CancellationToken;

use super::PATIENCE;

/// A relay on a port of its own.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    outcome: oneshot::Receiver<Result<(), app::AppError>>,
    /// A runtime of its own, so that it can be killed with everything that it has started.
    runtime: Option<Runtime>,
}

impl Relay {
    /// Starts a relay with further arguments of `bellwether serve`. The safety tick is an hour unless they say
    /// otherwise, so that only the doorbell can explain that an event arrives.
    pub(crate) async fn start(url: &str, arguments: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), url, arguments)
    }

    /// As [`Self::start`], at an address where an earlier relay has been.
    pub(crate) fn start_at(address: SocketAddr, url: &str, arguments: &[&str]) -> Self {
        let mut all = vec!["bellwether", "serve", "--database-url", url];
        if !arguments.contains(&"--tick") {
            all.extend(["--tick", "1h"]);
        }
        if !arguments.contains(&"--snapshot-every") {
            all.extend(["--snapshot-every", "1d"]);
        }
        all.extend(arguments);
        let Command::Serve(args) = Cli::try_parse_from(all).expect("valid arguments").command
        else {
            panic!("serve was asked for");
        };
        let runtime = Runtime::new().expect("a runtime");
        let entered = runtime.enter();
        // The threads of an earlier relay there, which was killed, may not have let go of it yet.
        let patience = Instant::now() + PATIENCE;
        let listener = loop {
            match app::bind(address) {
                Err(_) if Instant::now() < patience => sleep(Duration::from_millis(5)),
                outcome => break outcome.expect("a free port"),
            }
        };
        drop(entered);
        let (address, stop) = (
            listener.local_addr().expect("bound"),
            CancellationToken::new(),
        );
        let config = args.database.database_url.clone().expect("given");
        let (stopped, (ended, outcome)) = (stop.clone(), oneshot::channel());
        runtime.spawn(async move {
            let outcome = app::serve(config, listener, &args.relay, stopped).await;
            // Nobody asks how a relay ended that was killed.
            let _ = ended.send(outcome);
        });
        Self {
            address,
            stop,
            outcome,
            runtime: Some(runtime),
        }
    }

    /// Stops it as a signal would, and waits until it has stopped.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let ended = timeout(PATIENCE, &mut self.outcome)
            .await
            .expect("the relay stops");
        ended.expect("no panic").expect("no error");
    }

    /// Ends its tasks where they stand, as SIGKILL would: nothing is written down, no socket is told.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Tells it to stop, without waiting.
    pub(crate) fn begin_to_stop(&self) {
        self.stop.cancel();
    }

    /// A subscriber with this query.
    pub(crate) async fn subscribe(&self, query: &str) -> Subscriber {
        Subscriber::connect(self.address, query).await
    }

    /// The answer to a GET.
    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.address);
        let answer = reqwest::get(url);
        timeout(PATIENCE, answer)
            .await
            .expect("an answer in time")
            .expect("an answer")
    }

    /// The server-sent events of a query, as far as they come until `enough`.
    pub(crate) async fn events_until(
        &self,
        query: &str,
        last_event_id: Option<&str>,
        enough: impl Fn(&[ServerSentEvent]) -> bool,
    ) -> Vec<ServerSentEvent> {
        let client = reqwest::Client::new();
        let mut request = client.get(format!("http://{}/events?{query}", self.address));
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let mut body = response.bytes_stream();
        let mut text = String::new();
        loop {
            let events: Vec<_> = text
                .split("\n\n")
                .filter(|block| !block.is_empty())
                .map(ServerSentEvent::parse)
                .collect();
            if (text.is_empty() || text.ends_with("\n\n")) && enough(&events) {
                return events;
            }
            match timeout(PATIENCE, body.next())
                .await
                .expect("more events in time")
            {
                Some(bytes) => {
                    text.push_str(std::str::from_utf8(&bytes.expect("a body")).expect("UTF-8"))
                }
                None => return events,
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One server-sent event.
#[derive(Debug)]
pub(crate) struct ServerSentEvent {
    pub(crate) kind: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

impl ServerSentEvent {
    fn parse(block: &str) -> Self {
        let field = |name: &str| {
            block
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim_start)
        };
        Self {
            kind: field("event").unwrap_or_default().to_owned(),
            id: field("id").map(str::to_owned),
            data: field("data").map_or(Value::Null, |data| {
                serde_json::from_str(data).unwrap_or(Value::Null)
            }),
        }
    }
}

/// Segment and receive buffer of a client far away. On one machine the system would take megabytes of what nobody reads.
const FAR_SEGMENT: u32 = 1_400;
const FAR_BUFFER: usize = 4_096;

/// A connection as of a client far away.
pub(crate) async fn far_away(address: SocketAddr) -> TcpStream {
    let connecting = async {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_recv_buffer_size(FAR_BUFFER)?;
        socket.set_tcp_mss(FAR_SEGMENT)?;
        socket.set_nonblocking(true)?;
        TcpSocket::from_std_stream(socket.into())
            .connect(address)
            .await
    };
    connecting.await.expect("a connection")
}

/// A subscriber on a WebSocket. It keeps the newest cursor, as a client does.
pub(crate) struct Subscriber {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) cursor: Option<String>,
    /// The code and text of the close frame, once it has come.
    pub(crate) closed: Option<(u16, String)>,
}

impl Subscriber {
    pub(crate) async fn connect(address: SocketAddr, query: &str) -> Self {
        let connecting = connect_async(format!("ws://{address}/ws?{query}"));
        Self::once(connecting).await
    }

    /// A subscriber on a connection of the test's own.
    pub(crate) async fn on(stream: TcpStream, query: &str) -> Self {
        let address = stream.peer_addr().expect("connected");
        let url = format!("ws://{address}/ws?{query}");
        let connecting = client_async(url, MaybeTlsStream::Plain(stream));
        Self::once(connecting).await
    }

    async fn once<E: Debug>(
        connecting: impl Future<
            Output = Result<(WebSocketStream<MaybeTlsStream<TcpStream>>, Response), E>,
        >,
    ) -> Self {
        let (socket, _) = timeout(PATIENCE, connecting)
            .await
            .expect("a socket in time")
            .expect("a socket");
        Self {
            socket,
            cursor: None,
            closed: None,
        }
    }

    /// Says something to the relay.
    pub(crate) async fn say(&mut self, text: &str) {
        self.socket
            .send(Message::text(text))
            .await
            .expect("the relay listens");
    }

    /// The next frame; `None` once the relay has closed.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let message = timeout(PATIENCE, self.socket.next())
                .await
                .expect("a frame in time");
            match message {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
                    if let Some(cursor) = frame["cursor"].as_str() {
                        self.cursor = Some(cursor.to_owned());
                    }
                    return Some(frame);
                }
                Some(Ok(Message::Close(close))) => {
                    self.closed = close.map(|close| (close.code.into(), close.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next frame of a type; the others are passed over.
    pub(crate) async fn frame(&mut self, kind: &str) -> Value {
        let mut frames = self.frames_until(|frame| frame["type"] == kind).await;
        frames.pop().expect("the last is the one")
    }

    /// The frames up to and with the first for which the answer is yes.
    pub(crate) async fn frames_until(&mut self, enough: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut frames = Vec::new();
        let reading = async {
            loop {
                let frame = self
                    .next()
                    .await
                    .unwrap_or_else(|| panic!("closed after {frames:?}"));
                let last = enough(&frame);
                frames.push(frame);
                if last {
                    return;
                }
            }
        };
        let came = timeout(PATIENCE, reading).await;
        assert!(
            came.is_ok(),
            "waited {PATIENCE:?} in vain, and got {frames:?}"
        );
        frames
    }

    /// The events up to and with the first for which the answer is yes.
    pub(crate) async fn events_until(&mut self, enough: impl Fn(&Value) -> bool) -> Vec<Value> {
        let has = |frame: &Value| {
            frame["events"]
                .as_array()
                .is_some_and(|events| events.iter().any(&enough))
        };
        let frames = self.frames_until(has).await;
        let events = frames.iter().filter_map(|frame| frame["events"].as_array());
        events.flatten().cloned().collect()
    }

    /// Waits until the relay says that it is live.
    pub(crate) async fn live(&mut self) {
        self.frames_until(|frame| frame["type"] == "status" && frame["status"] == "live")
            .await;
    }
}

/// The operations as a client holds them: the newest revision of each.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    pub(crate) operations: BTreeMap<String, Value>,
}

impl Screen {
    /// Takes in a frame as `docs/protocol.md` tells a client to.
    pub(crate) fn apply(&mut self, frame: &Value) {
        for row in frame["operations"].as_array().into_iter().flatten() {
            self.operations.insert(text(&row["id"]), row.clone());
        }
        for event in frame["events"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|event| event["topic"] == "operations")
        {
            let entity = text(&event["entity"]);
            let newer = self
                .operations
                .get(&entity)
                .is_none_or(|held| held["revision"].as_i64() <= event["revision"].as_i64());
            if event["type"] == "table.truncated" {
                self.operations.clear();
            } else if event["type"] == "operation.deleted" || event["left"] == true {
                self.operations.remove(&entity);
            } else if newer {
                self.operations.insert(entity, event["data"].clone());
            }
        }
    }
}

/// A JSON string's text.
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("expected a string, got {value}"))
        .to_owned()
}
