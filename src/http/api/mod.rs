//! The read API: what is in the tables and the log now, by plain requests.
//!
//! | path | answers with |
//! |---|---|
//! | `/api/operations` | operations: a page, or all as CSV or NDJSON |
//! | `/api/operations/{id}` | one operation with its newest errors |
//! | `/api/operations/{id}/errors` | its errors: a page, or all as CSV or NDJSON |
//! | `/api/operations/{id}/events` | its history in the event log |
//! | `/api/connections` | connections: a page, or all as CSV or NDJSON |
//! | `/api/health` | the latest health snapshot |
//! | `/api/snapshots` | health snapshots: a page, or all as CSV or NDJSON |
//! | `/api/statistics` | what ran within a span of time, by type of operation and in all |
//!
//! Rows are as PostgreSQL renders them in UTC, with the columns' own names. Pages are keyset pages: `next` of one is
//! `page` of the following, and a page costs the same however far into the list it is. Whatever goes wrong is told as
//! problem details.

mod csv;
mod export;
mod format;
mod lists;
mod query;
mod single;
mod token;

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use uuid::Uuid;
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use self::export::Exports;
use self::format::Format;
use self::query::Query;
use super::encoding::Encoding;
use super::problem::Problem;
use super::resources::READ;
use crate::postgres::read::{Listing, Position};

/// How long a read waits for others to end.
const TURN_LIMIT: Duration = Duration::from_secs(5);
/// When to come again where too much is read.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The paths of the read API. Rejects only what is none of them: everything else, errors too, is a reply.
///
/// At most half of the pool's sessions are given to exports and fewer than the other half to everything else (at least
/// one to each), so that no reader, however slow what it asks for, keeps the relay's own jobs from the database.
pub fn routes(pool: Pool) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    let api = Api::new(pool);
    let with = move || {
        let api = api.clone();
        request().and(warp::any().map(move || api.clone()))
    };
    let operations = warp::path!("api" / "operations")
        .and(with())
        .then(async |request, api| answer(lists::operations(request, api).await));
    let operation = warp::path!("api" / "operations" / String)
        .and(with())
        .then(async |id, request, api| answer(single::operation(id, request, api).await));
    let errors = warp::path!("api" / "operations" / String / "errors")
        .and(with())
        .then(async |id, request, api| answer(lists::errors(id, request, api).await));
    let events = warp::path!("api" / "operations" / String / "events")
        .and(with())
        .then(async |id, request, api| answer(single::events(id, request, api).await));
    let connections = warp::path!("api" / "connections")
        .and(with())
        .then(async |request, api| answer(lists::connections(request, api).await));
    let health = warp::path!("api" / "health")
        .and(with())
        .then(async |request, api| answer(single::health(request, api).await));
    let snapshots = warp::path!("api" / "snapshots")
        .and(with())
        .then(async |request, api| answer(lists::snapshots(request, api).await));
    let statistics = warp::path!("api" / "statistics")
        .and(with())
        .then(async |request, api| answer(single::statistics(request, api).await));
    operations
        .or(operation)
        .unify()
        .or(errors)
        .unify()
        .or(events)
        .unify()
        .or(connections)
        .unify()
        .or(health)
        .unify()
        .or(snapshots)
        .unify()
        .or(statistics)
        .unify()
        .boxed()
}

/// What every answer needs.
#[derive(Clone, Debug)]
struct Api {
    pool: Pool,
    exports: Exports,
    /// The reads, other than exports, that may run at the same time.
    turns: Arc<Semaphore>,
}

impl Api {
    fn new(pool: Pool) -> Self {
        let sessions = pool.status().max_size;
        let turns = (sessions - sessions / 2).saturating_sub(1).max(1);
        Self {
            exports: Exports::for_pool(&pool),
            turns: Arc::new(Semaphore::new(turns)),
            pool,
        }
    }

    /// Waits until it may read.
    async fn turn(&self) -> Result<Turn, Problem> {
        match timeout(TURN_LIMIT, self.turns.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(Turn {
                pool: self.pool.clone(),
                _place: place,
            }),
            _ => Err(Problem::passing(
                "too much is read at the same time; try again",
                RETRY_AFTER,
            )),
        }
    }

    async fn export(
        &self,
        listing: Listing,
        after: Option<Position>,
        limit: Option<usize>,
        format: Format,
        gzip: bool,
    ) -> Result<Response, Problem> {
        let pool = self.pool.clone();
        export::respond(&self.exports, pool, listing, after, limit, format, gzip).await
    }
}

/// The pool, for one read.
#[derive(Debug)]
struct Turn {
    pool: Pool,
    /// Given back after the read.
    _place: OwnedSemaphorePermit,
}

impl Deref for Turn {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.pool
    }
}

/// The parts of a request that any answer looks at.
#[derive(Debug)]
struct Request {
    method: Method,
    headers: HeaderMap,
    query: String,
}

fn request() -> impl Filter<Extract = (Request,), Error = Infallible> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::header::headers_cloned())
        .and(query)
        .map(|method, headers, query| Request {
            method,
            headers,
            query,
        })
}

impl Request {
    /// Its parameters, of these names; checks the method, too.
    fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        if self.method != Method::GET && self.method != Method::HEAD {
            return Err(Problem::method_not_allowed(READ));
        }
        Query::parse(&self.query, known)
    }

    /// Its parameters, where the answer is JSON whatever they say.
    fn json_query(&self, known: &[&str]) -> Result<Query, Problem> {
        let query = self.query(known)?;
        Format::json_only(self.accept())?;
        Ok(query)
    }

    fn accept(&self) -> Option<&str> {
        self.headers.get(header::ACCEPT)?.to_str().ok()
    }

    fn takes_gzip(&self) -> bool {
        Encoding::of(&self.headers, &[Encoding::Gzip]).is_some()
    }
}

/// The answer or the problem; neither may be kept by a cache, and the form depends on what is accepted.
fn answer(outcome: Result<Response, Problem>) -> Response {
    let mut response = outcome.unwrap_or_else(Problem::into_response);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn json(body: String) -> Response {
    let kind = Format::Json.media_type();
    warp::reply::with_header(body, header::CONTENT_TYPE, kind).into_response()
}

fn not_found(operation: Uuid) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is no operation {operation}"),
    )
}
