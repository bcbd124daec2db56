//! Connections: how many there may be, and how long one may take to say what it wants.
//!
//! A client that opens sockets and says nothing costs little, but not nothing; without the two bounds here it could hold
//! every file descriptor of the relay for ever. HTTP/1.1 only: WebSockets need it, and whoever wants HTTP/2 or TLS towards
//! the world has a proxy for it.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::surface::Surface;

/// What connections are held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many there may be at the same time.
    pub(super) connections: usize,
    /// How long a client may take to send the head of a request, and to begin with its next one.
    pub(super) head_patience: Duration,
}

/// Largest head of a request, in bytes. What comes near it is refused in words before, by the surface.
const MAX_HEAD_BYTES: usize = 128 * 1024;
/// How long accepting waits where the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// How often it is logged that connections are turned away.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);
/// What is sent to a connection that is one too many.
const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n\
    Retry-After: 2\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: 132\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"this relay has as many connections as it may; try again\"}";

/// Serves until the token is cancelled, and then until the requests that have begun are answered. Upgraded sockets are not
/// waited for.
pub(super) async fn run(
    listener: TcpListener,
    surface: Arc<Surface>,
    limits: Limits,
    stop: CancellationToken,
) {
    let most = limits.connections.min(Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(most));
    let connections = TaskTracker::new();
    let mut turned_away = TurnedAway::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match room.clone().try_acquire_owned() {
                Ok(place) => {
                    let serving = Connection {
                        peer,
                        surface: surface.clone(),
                        head_patience: limits.head_patience,
                        stop: stop.clone(),
                        _place: place,
                    };
                    connections.spawn(serving.serve(stream));
                }
                Err(_) => turned_away.one(stream),
            },
            // The connection was gone before it was accepted.
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no connection can be accepted"
                );
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// One connection.
struct Connection {
    peer: SocketAddr,
    surface: Arc<Surface>,
    head_patience: Duration,
    stop: CancellationToken,
    /// Given back when the connection ends or becomes a WebSocket; those are counted as subscribers.
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Answers its requests until either side ends it.
    async fn serve(self, stream: TcpStream) {
        let Self { peer, surface, .. } = &self;
        let service =
            service_fn(async |request| Ok::<_, Infallible>(surface.answer(request, *peer).await));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.head_patience)
            .max_header_size(MAX_HEAD_BYTES);
        let connection = http
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            // A client that went away, or that speaks something else; none of the operator's business.
            tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a connection broke off");
        }
    }
}

/// The connections that were one too many.
#[derive(Default)]
struct TurnedAway {
    count: u64,
    complained: Option<Instant>,
}

impl TurnedAway {
    /// Says so without ever waiting for the client.
    fn one(&mut self, stream: TcpStream) {
        self.count += 1;
        if let Ok(mut stream) = stream.into_std() {
            // Nothing is owed to a client whose socket takes not even this.
            let _ = stream.write(TURNED_AWAY);
        }
        if self
            .complained
            .is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL)
        {
            self.complained = Some(Instant::now());
            tracing::warn!(
                so_far = self.count,
                "connections are turned away: as many as may be are open"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use warp::{Filter, Reply};

    use super::*;
    use crate::http::AllowedOrigins;

    /// A server of one path, and how it is stopped.
    async fn served(
        connections: usize,
        head_patience: Duration,
    ) -> (SocketAddr, CancellationToken) {
        let routes = warp::path!("livez").map(|| "ok".into_response()).boxed();
        let surface = Surface::new(routes, AllowedOrigins::default(), true);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let limits = Limits {
            connections,
            head_patience,
        };
        tokio::spawn(run(listener, Arc::new(surface), limits, stop.clone()));
        (address, stop)
    }

    async fn said(address: SocketAddr, words: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(address).await.expect("connected");
        socket.write_all(words).await.expect("sent");
        socket
    }

    /// What comes until the connection is closed, however.
    async fn heard(mut socket: TcpStream) -> String {
        let mut text = Vec::new();
        let _ = socket.read_to_end(&mut text).await;
        String::from_utf8(text).expect("text")
    }

    const ASKING: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

    #[tokio::test]
    async fn a_client_that_does_not_finish_its_request_is_let_go() {
        let (address, _stop) = served(10, Duration::from_millis(20)).await;
        for words in [&b""[..], b"GET /livez HTTP/1.1\r\nHost: loc"] {
            assert_eq!(heard(said(address, words).await).await, "");
        }
        let idle = heard(said(address, ASKING).await).await;
        assert!(idle.ends_with("ok"), "answered, and then let go: {idle}");
    }

    #[tokio::test]
    async fn a_connection_too_many_is_told_so_and_there_is_room_again_when_another_ends() {
        let (address, _stop) = served(1, Duration::from_secs(60)).await;
        let mut first = said(address, ASKING).await;
        let mut some = [0; 15];
        first.read_exact(&mut some).await.expect("an answer");
        assert_eq!(&some, b"HTTP/1.1 200 OK");
        let second = TcpStream::connect(address).await.expect("connected");
        assert!(heard(second).await.starts_with("HTTP/1.1 503 "));
        drop(first);
        loop {
            let mut next = said(address, ASKING).await;
            if next.read_exact(&mut some).await.is_ok() && &some == b"HTTP/1.1 200 OK" {
                break;
            }
        }
    }

    #[tokio::test]
    async fn idle_connections_do_not_hold_up_the_end() {
        let (address, stop) = served(10, Duration::from_secs(60)).await;
        let mut idle = said(address, ASKING).await;
        let mut some = [0; 15];
        idle.read_exact(&mut some).await.expect("an answer");
        stop.cancel();
        heard(idle).await;
    }

    #[test]
    fn what_is_sent_to_one_too_many_is_a_whole_answer() {
        let text = std::str::from_utf8(TURNED_AWAY).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(
            head.ends_with(&format!("Content-Length: {}", body.len())),
            "{head}: {}",
            body.len()
        );
        let problem: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(problem["status"], 503);
    }
}
