//! What is served where.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode, header};
use warp::reply::Response;
use warp::ws::Ws;
use warp::{Filter, Reply};

use super::problem::{self, Problem};
use super::protocol::{BadRequest, CloseReason, SubscribeMessage, Subscription};
use super::session::Session;
use super::surface::Peer;
use super::{HttpContext, api, assets, documents, sse, ws};
use crate::hub::Liveness;
use crate::hub::presence::{Client, Visit};

/// Longest stored `User-Agent`, in characters.
const MAX_USER_AGENT: usize = 256;
/// When to come again where the relay is full or out of touch.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Everything that the relay serves.
pub(super) fn all(context: HttpContext) -> BoxedFilter<(Response,)> {
    let pool = context.pool.clone();
    websocket(context.clone())
        .or(events(context.clone()))
        .unify()
        .or(livez())
        .unify()
        .or(readyz(context))
        .unify()
        .or(documents::routes())
        .unify()
        .or(api::routes(pool))
        .unify()
        .or(assets::routes())
        .unify()
        .recover(problem::recover)
        .unify()
        .boxed()
}

/// What a subscriber sends along, however it connects.
struct Visitor {
    context: HttpContext,
    address: Option<SocketAddr>,
    headers: HeaderMap,
    query: String,
}

fn visitor(context: HttpContext) -> impl Filter<Extract = (Visitor,), Error = Infallible> + Clone {
    let query = warp::query::raw().or_else(|_| async { Ok::<_, Infallible>((String::new(),)) });
    warp::ext::optional::<Peer>()
        .and(warp::header::headers_cloned())
        .and(query)
        .map(move |peer: Option<Peer>, headers, query| Visitor {
            context: context.clone(),
            address: peer.map(|Peer(address)| address),
            headers,
            query,
        })
}

impl Visitor {
    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn is_allowed(&self) -> bool {
        self.context
            .origins
            .allows(self.header(header::ORIGIN), self.header(header::HOST))
    }

    fn is_one_too_many(&self) -> bool {
        self.context.presence.count() >= self.context.max_subscribers
    }

    /// The subscription of the query; `Last-Event-ID` wins over it. None for `topics=none`.
    fn subscription(&self) -> Result<Option<Subscription>, BadRequest> {
        let pairs =
            form_urlencoded::parse(self.query.as_bytes()).map(|(name, value)| match &*name {
                "Last-Event-ID" | "lastEventId" => (Cow::from("last_event_id"), value),
                _ => (name, value),
            });
        let mut message = SubscribeMessage::from_query(pairs)?;
        if let Some(last) = self
            .headers
            .get("last-event-id")
            .and_then(|value| value.to_str().ok())
        {
            message.resume_from(last.to_owned());
        }
        if message.is_none() {
            Ok(None)
        } else {
            message.check().map(Some)
        }
    }

    fn join(&self, transport: &'static str) -> Visit {
        let user_agent = self
            .header(header::USER_AGENT)
            .map(|agent| agent.chars().take(MAX_USER_AGENT).collect());
        let address = self.address.map(|address| address.ip().to_string());
        self.context.presence.join(Client {
            transport,
            address,
            user_agent,
            latency_ms: None,
        })
    }

    fn session(&self, visit: Visit, first: Option<Subscription>) -> Session {
        Session::new(self.context.session(), visit, first)
    }
}

fn busy() -> Response {
    let detail = "this relay has as many subscribers as it may; try again";
    Problem::passing(detail, RETRY_AFTER).into_response()
}

/// Refusals are told on the socket: a browser's script never sees the answer to a failed upgrade.
fn websocket(context: HttpContext) -> BoxedFilter<(Response,)> {
    warp::path!("ws")
        .and(warp::ws())
        .and(visitor(context))
        .map(|upgrade: Ws, visitor: Visitor| {
            if visitor.is_one_too_many() {
                return busy();
            }
            let tasks = visitor.context.tasks.clone();
            let serve = move |socket| async move {
                if !visitor.is_allowed() {
                    let reason = CloseReason::ForbiddenOrigin;
                    return ws::refuse(socket, reason, reason.text()).await;
                }
                match visitor.subscription() {
                    Ok(first) => {
                        let session = visitor.session(visitor.join("websocket"), first);
                        drop(visitor);
                        ws::serve(socket, session).await;
                    }
                    Err(error) => {
                        ws::refuse(socket, CloseReason::BadRequest, &error.to_string()).await
                    }
                }
            };
            let upgrade = upgrade
                .max_message_size(ws::MAX_MESSAGE_BYTES)
                .max_frame_size(ws::MAX_MESSAGE_BYTES);
            upgrade
                .on_upgrade(move |socket| tasks.track_future(serve(socket)))
                .into_response()
        })
        .or(warp::path!("ws").map(upgrade_required))
        .unify()
        .boxed()
}

/// A plain request where a WebSocket is served.
fn upgrade_required() -> Response {
    let problem = Problem::new(
        StatusCode::UPGRADE_REQUIRED,
        "expected a WebSocket handshake of version 13; /events has the same as server-sent events",
    );
    let mut response = problem.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::UPGRADE, "websocket"),
        (header::CONNECTION, "Upgrade"),
        (header::SEC_WEBSOCKET_VERSION, "13"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}

fn events(context: HttpContext) -> BoxedFilter<(Response,)> {
    warp::path!("events")
        .and(warp::get())
        .and(visitor(context))
        .map(|visitor: Visitor| {
            if !visitor.is_allowed() {
                return Problem::new(StatusCode::FORBIDDEN, CloseReason::ForbiddenOrigin.text())
                    .into_response();
            }
            if visitor.is_one_too_many() {
                return busy();
            }
            match visitor.subscription() {
                Ok(first) => {
                    let session = visitor.session(visitor.join("sse"), first);
                    let reply = warp::sse::reply(sse::stream(session, &visitor.context.tasks));
                    warp::reply::with_header(reply, "X-Accel-Buffering", "no").into_response()
                }
                Err(error) => {
                    let problem = Problem::new(StatusCode::BAD_REQUEST, error.to_string());
                    match error.field() {
                        Some(field) => problem.about(field),
                        None => problem,
                    }
                    .into_response()
                }
            }
        })
        .boxed()
}

/// The process runs.
fn livez() -> BoxedFilter<(Response,)> {
    warp::path!("livez")
        .and(warp::get().or(warp::head()).unify())
        .map(|| "ok\n".into_response())
        .boxed()
}

/// The relay is in touch with its database: what it serves is true.
fn readyz(context: HttpContext) -> BoxedFilter<(Response,)> {
    warp::path!("readyz")
        .and(warp::get().or(warp::head()).unify())
        .map(move || {
            let status = context.hub.status().borrow().clone();
            let code = match status.status {
                Liveness::Degraded => StatusCode::SERVICE_UNAVAILABLE,
                Liveness::Live | Liveness::CatchingUp => StatusCode::OK,
            };
            let reply = warp::reply::with_status(warp::reply::json(&status), code);
            let mut response = reply.into_response();
            if code != StatusCode::OK {
                let wait = header::HeaderValue::from(RETRY_AFTER.as_secs());
                response.headers_mut().insert(header::RETRY_AFTER, wait);
            }
            response
        })
        .boxed()
}
