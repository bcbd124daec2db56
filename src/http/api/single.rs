//! One operation with what belongs to it, the present health, and statistics.

use warp::reply::Response;

use super::query::{unexpected, uuid};
use super::{Api, Request, json, not_found, token};
use crate::http::problem::Problem;
use crate::postgres::read::{self, KeyKind, KeyPart, Position, StatisticsFilter};

/// What page tokens call the two orders of a history; see `Order::code` for the others.
const OLDEST_FIRST: u8 = 64;
const NEWEST_FIRST: u8 = 65;

/// `GET /api/operations/{id}`
pub(super) async fn operation(id: String, request: Request, api: Api) -> Result<Response, Problem> {
    request.json_query(&[])?;
    let id = uuid("id", &id)?;
    read::operation(&*api.turn().await?, id)
        .await?
        .map(json)
        .ok_or_else(|| not_found(id))
}

/// `GET /api/operations/{id}/events`: `{"events":[…],"next":"…","complete_from":"…"}`, the events as on the wire. An
/// operation that is gone still has its history, as far as the log is kept.
pub(super) async fn events(id: String, request: Request, api: Api) -> Result<Response, Problem> {
    let query = request.json_query(&["sort", "limit", "page"])?;
    let id = uuid("id", &id)?;
    let (newest_first, code) = match query.value("sort") {
        None | Some("id") => (false, OLDEST_FIRST),
        Some("-id") => (true, NEWEST_FIRST),
        Some(value) => return Err(unexpected("sort", value, "one of id, -id")),
    };
    let after = match query.value("page") {
        None => None,
        Some(page) => match token::decode(page, code, [KeyKind::Integer].into_iter()) {
            Ok(Position(parts)) => match parts[..] {
                [KeyPart::Integer(id)] => Some(id),
                _ => None,
            },
            Err(error) => return Err(Problem::invalid("page", error)),
        },
    };
    let history =
        read::history(&*api.turn().await?, id, newest_first, after, query.limit()?).await?;
    if history.events.is_empty() && after.is_none() && !history.operation_exists {
        return Err(not_found(id));
    }
    let mut body = String::from(r#"{"events":["#);
    for (place, event) in history.events.iter().enumerate() {
        if place > 0 {
            body.push(',');
        }
        event.write_json(false, &mut body);
    }
    let next = history
        .next
        .map(|id| token::encode(&Position(vec![KeyPart::Integer(id)]), code));
    let complete_from = history.complete_from.map(|instant| instant.to_string());
    let rest = serde_json::json!({ "next": next, "complete_from": complete_from }).to_string();
    body.push_str("],");
    body.push_str(&rest[1..]);
    Ok(json(body))
}

/// `GET /api/health`: `{"health":{…},"age_ms":…}`, both null while no snapshot was ever taken.
pub(super) async fn health(request: Request, api: Api) -> Result<Response, Problem> {
    request.json_query(&[])?;
    Ok(json(match read::health(&*api.turn().await?).await? {
        Some((row, age_ms)) => format!(r#"{{"health":{row},"age_ms":{age_ms}}}"#),
        None => r#"{"health":null,"age_ms":null}"#.to_owned(),
    }))
}

/// `GET /api/statistics`: what ran within a span of time, by type of operation and in all.
pub(super) async fn statistics(request: Request, api: Api) -> Result<Response, Problem> {
    let query = request.json_query(&["since", "until", "operation_type", "owner"])?;
    let filter = StatisticsFilter {
        since: query.instant("since")?,
        until: query.instant("until")?,
        operation_types: query.list("operation_type")?,
        owners: query.list("owner")?,
    };
    read::statistics(&*api.turn().await?, filter)
        .await?
        .map(json)
        .ok_or_else(|| {
            Problem::invalid(
                "since",
                "expected an instant before until, which is now unless given",
            )
        })
}
