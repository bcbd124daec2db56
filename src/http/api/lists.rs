//! The lists: operations, an operation's errors, connections and health snapshots; as pages or as files.

use warp::reply::Response;

use super::format::Format;
use super::query::{Query, uuid};
use super::{Api, Request, json, not_found, token};
use crate::http::problem::Problem;
use crate::postgres::read::{
    self, CONNECTIONS, ConnectionFilter, ERRORS, Listing, OPERATIONS, OperationFilter, SNAPSHOTS,
    SnapshotFilter,
};

const OPERATION_STATUSES: [&str; 6] = [
    "pending",
    "in_progress",
    "paused",
    "completed",
    "failed",
    "cancelled",
];
const CONNECTION_STATUSES: [&str; 4] = ["connected", "disconnected", "reconnecting", "error"];
const CONNECTION_SOURCES: [&str; 2] = ["app", "relay"];
const SNAPSHOT_KINDS: [&str; 2] = ["scheduled", "manual"];
const HEALTH_STATUSES: [&str; 5] = ["healthy", "warning", "critical", "active", "idle"];

/// `GET /api/operations`
pub(super) async fn operations(request: Request, api: Api) -> Result<Response, Problem> {
    let query = request.query(&[
        "status",
        "owner",
        "operation_type",
        "source",
        "operation_id",
        "created_after",
        "created_before",
        "q",
        "active",
        "sort",
        "limit",
        "page",
        "format",
    ])?;
    let filter = OperationFilter {
        ids: query.uuids("operation_id")?,
        statuses: query.words("status", &OPERATION_STATUSES)?,
        owners: query.list("owner")?,
        operation_types: query.list("operation_type")?,
        sources: query.list("source")?,
        created_after: query.instant("created_after")?,
        created_before: query.instant("created_before")?,
        search: query.text("q")?,
        active: query.flag("active")?,
    };
    let order = query.order(&OPERATIONS)?;
    if filter.active == Some(true) && order.name.ends_with("completed_at") {
        return Err(Problem::invalid(
            "sort",
            "completed_at lists operations that have ended; expected another order with active=true",
        ));
    }
    list(&request, &api, &query, filter.listing(order)).await
}

/// `GET /api/operations/{id}/errors`
pub(super) async fn errors(id: String, request: Request, api: Api) -> Result<Response, Problem> {
    let query = request.query(&["sort", "limit", "page", "format"])?;
    let id = uuid("id", &id)?;
    if !read::operation_exists(&*api.turn().await?, id).await? {
        return Err(not_found(id));
    }
    let listing = read::errors_of(id, query.order(&ERRORS)?);
    list(&request, &api, &query, listing).await
}

/// `GET /api/connections`
pub(super) async fn connections(request: Request, api: Api) -> Result<Response, Problem> {
    let query = request.query(&["status", "source", "sort", "limit", "page", "format"])?;
    let filter = ConnectionFilter {
        statuses: query.words("status", &CONNECTION_STATUSES)?,
        sources: query.words("source", &CONNECTION_SOURCES)?,
    };
    let listing = filter.listing(query.order(&CONNECTIONS)?);
    list(&request, &api, &query, listing).await
}

/// `GET /api/snapshots`
pub(super) async fn snapshots(request: Request, api: Api) -> Result<Response, Problem> {
    let query = request.query(&[
        "kind",
        "status",
        "taken_after",
        "taken_before",
        "sort",
        "limit",
        "page",
        "format",
    ])?;
    let filter = SnapshotFilter {
        kinds: query.words("kind", &SNAPSHOT_KINDS)?,
        statuses: query.words("status", &HEALTH_STATUSES)?,
        taken_after: query.instant("taken_after")?,
        taken_before: query.instant("taken_before")?,
    };
    let listing = filter.listing(query.order(&SNAPSHOTS)?);
    list(&request, &api, &query, listing).await
}

/// A page as JSON, `{"operations":[…],"next":"…"}` with `next` null on the last; or the whole list as a file.
async fn list(
    request: &Request,
    api: &Api,
    query: &Query,
    listing: Listing,
) -> Result<Response, Problem> {
    let after = query.page(listing.order)?;
    let format = Format::of(query, request.accept())?;
    if format != Format::Json {
        let limit = query.export_limit()?;
        let gzip = request.takes_gzip();
        return api.export(listing, after, limit, format, gzip).await;
    }
    let page = read::page(
        &*api.turn().await?,
        &listing,
        after.as_ref(),
        query.limit()?,
    )
    .await?;
    let next = page
        .next
        .map(|position| token::encode(&position, listing.order.code));
    Ok(json(format!(
        r#"{{"{}":[{}],"next":{}}}"#,
        listing.table.name,
        page.rows.join(","),
        serde_json::json!(next)
    )))
}
