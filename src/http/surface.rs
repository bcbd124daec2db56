//! What holds for every request and every answer, whatever it is about: which methods there are, how large a request may
//! be, which pages may read the answer, how it is compressed, and what a browser may do with it.
//!
//! Everything that is refused here is refused in words, as problem details. What breaks the rules of HTTP itself, or has
//! a head beyond [`super::server`]'s bound, never comes this far: hyper answers it with a bare status.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use percent_encoding::percent_decode_str;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::filters::BoxedFilter;
use warp::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use warp::http::{Method, Request, StatusCode};
use warp::reply::Response;

use super::encoding::{self, Encoding};
use super::origin::AllowedOrigins;
use super::problem::Problem;
use super::protocol::CloseReason;
use super::resources::Kind;

/// Longest path and query, in bytes: a cursor of the greatest length and a long filter beside it.
const MAX_TARGET_BYTES: usize = 56 * 1024;
/// Largest header fields together, in bytes; `Last-Event-ID` may carry such a cursor, too.
const MAX_FIELD_BYTES: usize = 64 * 1024;
/// Largest content of a request, in bytes. Nothing here reads any, but some clients send a little with a GET.
const MAX_CONTENT_BYTES: u64 = 64 * 1024;
/// Bytes of answers that may wait for their readers, all together; files are in memory once, and do not count.
const MOST_WAITING_BYTES: usize = 128 * 1024 * 1024;
/// Smaller answers do not count: there may be no more of them than connections.
const COUNTED_BYTES: usize = 64 * 1024;
/// When to come again where there is no room for an answer.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long a browser may keep the answer to a preflight.
const PREFLIGHT_SECONDS: &str = "600";
/// What a page of another origin may send.
const SHARED_REQUEST_FIELDS: &str =
    "Accept, Authorization, Cache-Control, Content-Type, If-None-Match, Last-Event-ID";
/// What a page of another origin may read, besides what every page may.
const SHARED_ANSWER_FIELDS: &str = "Allow, Content-Disposition, ETag, Retry-After";
/// What an answer that is no page of ours may do in a browser: nothing.
const INERT: &str = "default-src 'none'; frame-ancestors 'none'";

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Everything that the relay serves, with the rules around it.
pub(super) struct Surface {
    routes: Box<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response> + Send + Sync>,
    origins: AllowedOrigins,
    /// Whether only this machine can reach the relay.
    is_local: bool,
    waiting: Waiting,
}

/// The room for answers that wait for their readers, in bytes.
#[derive(Clone, Debug)]
struct Waiting(Arc<Semaphore>);

/// An answer that has its room until it is sent, or its reader gone.
struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Waiting {
    fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// The same bytes, which take up room as long as there is a copy of them; none where there is no room.
    fn hold(&self, bytes: Bytes) -> Option<Bytes> {
        let size = u32::try_from(bytes.len()).ok()?;
        let room = self.0.clone().try_acquire_many_owned(size).ok()?;
        Some(Bytes::from_owner(Held { bytes, _room: room }))
    }
}

impl Surface {
    /// The rules around these routes.
    pub(super) fn new(
        routes: BoxedFilter<(Response,)>,
        origins: AllowedOrigins,
        is_local: bool,
    ) -> Self {
        let service = TowerToHyperService::new(warp::service(routes));
        let routes = move |request| {
            let answer = service.call(request);
            let answer: BoxFuture<'static, Response> = Box::pin(async move {
                match answer.await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            });
            answer
        };
        Self {
            routes: Box::new(routes),
            origins,
            is_local,
            waiting: Waiting::new(MOST_WAITING_BYTES),
        }
    }

    /// Answers a request.
    pub(super) async fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response {
        let asked = self.asked(&request);
        let response = match self.refused(&request) {
            Some(problem) => problem.into_response(),
            None if request.method() == Method::OPTIONS => self.options(&request, &asked),
            None => {
                request.extensions_mut().insert(Peer(peer));
                (self.routes)(request).await
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response;
        }
        let response = compressed(response, asked.takes_gzip).await;
        let mut response = held(response, &self.waiting).await;
        asked.dress(response.status(), response.headers_mut());
        response
    }

    fn asked(&self, request: &Request<Incoming>) -> Asked {
        let headers = request.headers();
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text(header::ORIGIN);
        let is_allowed = self.origins.allows(origin, text(header::HOST));
        Asked {
            is_file: Kind::of(request.uri().path()) == Kind::File,
            origin: headers.get(header::ORIGIN).cloned(),
            is_allowed,
            takes_gzip: Encoding::of(headers, &[Encoding::Gzip]).is_some(),
        }
    }

    /// What is wrong with a request before it is looked at.
    fn refused(&self, request: &Request<Incoming>) -> Option<Problem> {
        let (uri, headers) = (request.uri(), request.headers());
        let target = uri.path().len() + uri.query().map_or(0, str::len);
        if target > MAX_TARGET_BYTES {
            let detail = format!(
                "path and query have {target} bytes; expected {MAX_TARGET_BYTES} at most. \
                 A long cursor or filter can be sent in a subscribe message"
            );
            return Some(Problem::new(StatusCode::URI_TOO_LONG, detail));
        }
        let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        let fields: usize = headers.iter().map(size).sum();
        if fields > MAX_FIELD_BYTES {
            let largest = headers.iter().max_by_key(|field| size(*field));
            let detail = format!(
                "the header fields have {fields} bytes; expected {MAX_FIELD_BYTES} at most"
            );
            let problem = Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail);
            return Some(match largest {
                Some((name, _)) => problem.about(name.as_str()),
                None => problem,
            });
        }
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        if self.is_local && host.is_some_and(|host| !self.origins.may_be_called(host)) {
            return Some(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "this relay listens on this machine only and is not known by the name in the Host header; \
                 behind a proxy, list the origin that browsers see in --allow-origin",
            ));
        }
        let kind = Kind::of(uri.path());
        if kind == Kind::Nothing {
            return Some(Problem::new(
                StatusCode::NOT_FOUND,
                "there is nothing at this address; /api/openapi.json lists what there is",
            ));
        }
        let allowed = kind.methods();
        let is_allowed = allowed
            .split(", ")
            .any(|method| method == request.method().as_str());
        if !is_allowed {
            return Some(Problem::method_not_allowed(allowed));
        }
        let content = request.body().size_hint().lower();
        if content > MAX_CONTENT_BYTES {
            let detail = format!(
                "the request has {content} bytes of content; expected none, and {MAX_CONTENT_BYTES} at most"
            );
            return Some(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        let is_text = |query| percent_decode_str(query).decode_utf8().is_ok();
        if !uri.query().is_none_or(is_text) {
            return Some(Problem::invalid("query", "expected percent-encoded UTF-8"));
        }
        None
    }

    /// What may be done here; where a browser asks for a page of another origin, whether that page may.
    fn options(&self, request: &Request<Incoming>, asked: &Asked) -> Response {
        let is_preflight = asked.origin.is_some()
            && request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if is_preflight && !asked.is_file && !asked.is_allowed {
            let detail = CloseReason::ForbiddenOrigin.text();
            return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
        }
        let allowed = HeaderValue::from_static(Kind::of(request.uri().path()).methods());
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        if is_preflight {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allowed.clone());
            for (name, value) in [
                (header::ACCESS_CONTROL_ALLOW_HEADERS, SHARED_REQUEST_FIELDS),
                (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        headers.insert(header::ALLOW, allowed);
        response
    }
}

/// What an answer depends on, besides what it is about.
struct Asked {
    /// A file of the dashboard: public, the same for everyone.
    is_file: bool,
    origin: Option<HeaderValue>,
    /// Whether pages of that origin may read the answer.
    is_allowed: bool,
    takes_gzip: bool,
}

impl Asked {
    /// Adds what every answer has.
    fn dress(&self, status: StatusCode, headers: &mut HeaderMap) {
        let set = |headers: &mut HeaderMap, name: HeaderName, value| {
            headers
                .entry(name)
                .or_insert(HeaderValue::from_static(value));
        };
        set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(headers, header::REFERRER_POLICY, "no-referrer");
        set(headers, header::CONTENT_SECURITY_POLICY, INERT);
        let sharing = HeaderName::from_static("cross-origin-resource-policy");
        if self.is_file {
            // Any page may embed the components: they show nothing by themselves.
            set(headers, sharing, "cross-origin");
            set(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        } else {
            set(headers, sharing, "same-origin");
            set(headers, header::CACHE_CONTROL, "no-store");
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
            if let Some(origin) = self.origin.clone().filter(|_| self.is_allowed) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                if status != StatusCode::NO_CONTENT {
                    set(
                        headers,
                        header::ACCESS_CONTROL_EXPOSE_HEADERS,
                        SHARED_ANSWER_FIELDS,
                    );
                }
            }
        }
        join_vary(headers);
    }
}

/// One `Vary` field in place of several.
fn join_vary(headers: &mut HeaderMap) {
    let values: Vec<&str> = headers
        .get_all(header::VARY)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    if values.len() > 1
        && let Ok(joined) = HeaderValue::try_from(values.join(", "))
    {
        headers.insert(header::VARY, joined);
    }
}

/// The answer, where there is room for it until its reader has taken it. Streams and files are not held.
async fn held(response: Response, waiting: &Waiting) -> Response {
    let length = response.body().size_hint().exact().unwrap_or(0);
    let is_counted = usize::try_from(length).is_ok_and(|length| length >= COUNTED_BYTES);
    if !is_counted || response.headers().contains_key(header::ETAG) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return cut_off(&error),
    };
    match waiting.hold(bytes) {
        Some(bytes) => Response::from_parts(parts, bytes.into()),
        None => {
            tracing::warn!(
                length,
                "there is no room for an answer: too many readers are slow"
            );
            Problem::passing(
                "too many large answers wait for slow readers; try again, or ask for less",
                RETRY_AFTER,
            )
            .into_response()
        }
    }
}

/// What is answered where the answer itself could not be had.
fn cut_off(error: &(dyn std::error::Error + 'static)) -> Response {
    tracing::error!(error, "an answer was cut off");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the relay could not answer this; its log says why",
    )
    .into_response()
}

/// Compresses a body that is all there, is worth it and is not compressed yet.
async fn compressed(response: Response, takes_gzip: bool) -> Response {
    let length = response.body().size_hint().exact().unwrap_or(0);
    let headers = response.headers();
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let is_worth_it = kind.is_some_and(|kind| {
        encoding::is_worth_it(kind, usize::try_from(length).unwrap_or(usize::MAX))
    });
    if !is_worth_it
        || headers.contains_key(header::CONTENT_ENCODING)
        || headers.contains_key(header::ETAG)
    {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts
        .headers
        .append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if !takes_gzip {
        return Response::from_parts(parts, body);
    }
    let body = match body.collect().await {
        Ok(body) => encoding::gzipped(body.to_bytes()).await,
        Err(error) => return cut_off(&error),
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(
        header::CONTENT_ENCODING,
        HeaderValue::from_static(Encoding::Gzip.name()),
    );
    Response::from_parts(parts, body.into())
}

#[cfg(test)]
mod tests {
    use warp::Reply;

    use super::*;

    #[test]
    fn what_an_answer_varies_by_is_one_field() {
        let mut headers = HeaderMap::new();
        headers.append(header::VARY, HeaderValue::from_static("Accept"));
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        join_vary(&mut headers);
        assert_eq!(headers.get_all(header::VARY).iter().count(), 1);
        assert_eq!(headers[header::VARY], "Accept, Origin");
    }

    fn answer() -> Response {
        "x".repeat(COUNTED_BYTES).into_response()
    }

    #[tokio::test]
    async fn answers_that_nobody_takes_have_a_bound_together() {
        let waiting = Waiting::new(2 * COUNTED_BYTES);
        let first = held(answer(), &waiting).await;
        let second = held(answer(), &waiting).await;
        assert_eq!(second.status(), StatusCode::OK);
        let refused = held(answer(), &waiting).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key(header::RETRY_AFTER));
        let small = held("x".into_response(), &waiting).await;
        assert_eq!(small.status(), StatusCode::OK);

        // What the socket has not taken yet counts, also when the answer itself is through.
        let sending = first
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let still = held(answer(), &waiting).await;
        assert_eq!(still.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(sending);
        assert_eq!(held(answer(), &waiting).await.status(), StatusCode::OK);
    }
}
