//! HTTP: the sockets, the read API, and what tells whether the relay is well. Only this module names warp.

pub mod api;
mod arrival;
mod assets;
mod origin;
pub mod problem;
pub mod protocol;
mod session;
mod sse;
mod ws;

mod routes;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::origin::{AllowedOrigin, AllowedOrigins};
use self::session::SessionContext;
use crate::hub::presence::Presence;
use crate::hub::{Hub, Log};

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
    let served = warp::serve(routes::all(context)).incoming(listener);
    served
        .graceful(async move { stop.cancelled().await })
        .run()
        .await;
}
