//! The dashboard at `/`: what `web/` builds, carried inside the program.
//!
//! A program that was built without it still runs, and says how to get it. Names with a hash in them never change; the
//! page itself is asked for again each time, by its ETag. Every path that is no file is a view of the dashboard, whose
//! addresses are its own.

use rust_embed::{EmbeddedFile, RustEmbed};
use warp::filters::BoxedFilter;
use warp::http::{StatusCode, header};
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

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

/// Serves the dashboard, its assets and its views.
pub(super) fn routes() -> BoxedFilter<(Response,)> {
    warp::get()
        .or(warp::head())
        .unify()
        .and(warp::path::full())
        .and(warp::header::optional("if-none-match"))
        .and_then(|path: FullPath, known: Option<String>| async move {
            serve(path.as_str(), known.as_deref())
        })
        .boxed()
}

fn serve(path: &str, known: Option<&str>) -> Result<Response, Rejection> {
    let name = path.trim_start_matches('/');
    let is_reserved = ["api", "ws", "events", "livez", "readyz", "metrics"]
        .contains(&name.split('/').next().unwrap_or(""));
    if let Some(file) = Dashboard::get(name) {
        return Ok(answer(name, &file, known));
    }
    if is_reserved
        || name
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains('.'))
    {
        return Err(warp::reject::not_found());
    }
    match Dashboard::get("index.html") {
        Some(page) => Ok(answer("index.html", &page, known)),
        None if name.is_empty() => Ok(MISSING.into_response()),
        None => Err(warp::reject::not_found()),
    }
}

fn answer(name: &str, file: &EmbeddedFile, known: Option<&str>) -> Response {
    let etag = format!("\"{}\"", hex(&file.metadata.sha256_hash()[..8]));
    let is_known = known.is_some_and(|known| {
        known
            .split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == etag)
    });
    let mut response = if is_known {
        Response::default()
    } else {
        Response::new(file.data.to_vec().into())
    };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let hashed = name.starts_with("assets/");
    let caching = if hashed {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let fields = [
        (header::ETAG, etag.as_str()),
        (header::CACHE_CONTROL, caching),
        (header::CONTENT_TYPE, content_type(name)),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fields {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
