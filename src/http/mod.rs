//! HTTP: the sockets, the read API, and what tells whether the relay is well. Only this module names warp.

pub mod api;
mod arrival;
mod assets;
mod documents;
mod encoding;
mod files;
mod origin;
pub mod problem;
pub mod protocol;
mod resources;
mod server;
mod session;
mod sse;
mod surface;
mod ws;

mod routes;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::origin::{AllowedOrigin, AllowedOrigins};
use self::server::Limits;
use self::session::SessionContext;
use self::surface::Surface;
use crate::hub::presence::Presence;
use crate::hub::{Hub, Log};

/// Connections beside those of subscribers: pages, files, the read API, whoever asks whether the relay is well.
const OTHER_CONNECTIONS: usize = 1_024;
/// How long a client may take to say what it wants.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// What the HTTP side serves.
#[derive(Clone)]
pub struct HttpContext {
    /// Where events come from.
    pub hub: Hub,
    /// Where a subscriber that is behind reads the log.
    pub log: Arc<dyn Log>,
    /// Who is connected.
    pub presence: Presence,
    /// For the read API.
    pub pool: Pool,
    /// Which pages may subscribe.
    pub origins: AllowedOrigins,
    /// How often each subscription is told up to when it is complete.
    pub heartbeat: Duration,
    /// Most subscribers at the same time.
    pub max_subscribers: usize,
    /// The sessions, to be waited for.
    pub tasks: TaskTracker,
    /// Cancelled when the relay stops.
    pub stop: CancellationToken,
}

impl HttpContext {
    fn session(&self) -> SessionContext {
        SessionContext {
            hub: self.hub.clone(),
            log: self.log.clone(),
            heartbeat: self.heartbeat,
            stop: self.stop.clone(),
        }
    }
}

/// Serves until the token is cancelled. Sockets and event streams end by themselves then; they are in
/// [`HttpContext::tasks`], since the server does not wait for upgraded connections.
pub async fn run(listener: TcpListener, context: HttpContext) {
    let stop = context.stop.clone();
    let limits = Limits {
        connections: context.max_subscribers.saturating_add(OTHER_CONNECTIONS),
        head_patience: HEAD_PATIENCE,
    };
    let is_local = listener
        .local_addr()
        .is_ok_and(|address| address.ip().is_loopback());
    let origins = context.origins.clone();
    let surface = Surface::new(routes::all(context), origins, is_local);
    server::run(listener, Arc::new(surface), limits, stop).await;
}
