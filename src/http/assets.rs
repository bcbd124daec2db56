//! The dashboard at `/`: what `web/` builds, carried inside the program.
//!
//! A program that was built without it still runs, and says how to get it. Names with a hash in them never change; the
//! page itself is asked for again each time, by its ETag. Every path that is no file is a view of the dashboard, whose
//! addresses are its own.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use rust_embed::{EmbeddedFile, RustEmbed};
use tokio::sync::Mutex;
use warp::filters::BoxedFilter;
use warp::http::HeaderMap;
use warp::http::header::{self, HeaderName, HeaderValue};
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::files::File;
use super::resources::Kind;

/// What a page of ours may do: nothing but talk to its own relay.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; \
    object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

const MISSING: &str = "The relay is running, but this program was built without the dashboard.\n\
    To get it: (cd web && npm ci && npm run build), then build again. `make run` does both.\n\n\
    Meanwhile: GET /events, /api/operations, /api/health, /readyz, and `bellwether tail`.\n";

#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Dashboard;

/// The files that were asked for, compressed, by name; each with the hash of its contents, which change only where a
/// program that is being worked on reads them from the disk.
static KEPT: Mutex<Option<HashMap<String, Kept>>> = Mutex::const_new(None);

/// A file, and the hash of what it was made from.
type Kept = ([u8; 32], Arc<File>);

/// Serves the dashboard, its assets and its views.
pub(super) fn routes() -> BoxedFilter<(Response,)> {
    warp::get()
        .or(warp::head())
        .unify()
        .and(warp::path::full())
        .and(warp::header::headers_cloned())
        .and_then(async |path: FullPath, headers: HeaderMap| serve(path.as_str(), &headers).await)
        .boxed()
}

async fn serve(path: &str, headers: &HeaderMap) -> Result<Response, Rejection> {
    let name = path.trim_start_matches('/');
    if let Some(file) = Dashboard::get(name) {
        return Ok(answer(name, file, headers).await);
    }
    let last = name.rsplit('/').next().unwrap_or("");
    if Kind::of(path) != Kind::File || last.contains('.') {
        return Err(warp::reject::not_found());
    }
    match Dashboard::get("index.html") {
        Some(page) => Ok(answer("index.html", page, headers).await),
        None if name.is_empty() => Ok(MISSING.into_response()),
        None => Err(warp::reject::not_found()),
    }
}

async fn answer(name: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let caching = if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut response = kept(name, file).await.answer(headers, caching);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    if name.ends_with(".html") {
        headers.insert(
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        );
    }
    response
}

/// The file with what it is compressed to; made when it is first asked for.
async fn kept(name: &str, file: EmbeddedFile) -> Arc<File> {
    let hash = file.metadata.sha256_hash();
    let mut kept = KEPT.lock().await;
    let kept = kept.get_or_insert_default();
    if let Some((known, file)) = kept.get(name)
        && *known == hash
    {
        return file.clone();
    }
    let kind = content_type(name);
    let bytes = Bytes::from(file.data.into_owned());
    let file = tokio::task::spawn_blocking(move || Arc::new(File::new(kind, bytes)))
        .await
        .expect("compressing in memory does not fail");
    kept.insert(name.to_owned(), (hash, file.clone()));
    file
}

/// The kinds of files that a dashboard is made of.
fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("json" | "map" | "webmanifest") => "application/json",
        _ => "application/octet-stream",
    }
}
