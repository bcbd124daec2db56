//! What warp's rejections mean.

use std::convert::Infallible;
use std::error::Error;

use warp::Rejection;
use warp::http::StatusCode;
use warp::reject::{
    InvalidHeader, InvalidQuery, LengthRequired, MethodNotAllowed, MissingCookie, MissingHeader,
    PayloadTooLarge, UnsupportedMediaType,
};
use warp::reply::Response;

use super::Problem;

/// Turns whatever rejected a request into problem details; the last filter of all.
///
/// # Errors
/// None.
pub(crate) async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    Ok(of(&rejection).into_response())
}

/// What a rejection means. warp tries the routes in turn and keeps every reason, so the most telling one comes first.
fn of(rejection: &Rejection) -> Problem {
    if let Some(problem) = rejection.find::<Problem>() {
        return problem.clone();
    }
    let bad = |error: &dyn Error| Problem::new(StatusCode::BAD_REQUEST, error.to_string());
    if let Some(missing) = rejection.find::<MissingHeader>() {
        return Problem::invalid(missing.name(), "this header is required");
    }
    if let Some(invalid) = rejection.find::<InvalidHeader>() {
        return Problem::invalid(invalid.name(), "this header's value makes no sense");
    }
    if let Some(error) = rejection.find::<MissingCookie>() {
        return bad(error);
    }
    if let Some(error) = rejection.find::<InvalidQuery>() {
        return bad(error);
    }
    if let Some(error) = rejection.find::<warp::body::BodyDeserializeError>() {
        return bad(error);
    }
    if rejection.find::<LengthRequired>().is_some() {
        return Problem::new(
            StatusCode::LENGTH_REQUIRED,
            "the request must say how long its body is",
        );
    }
    if rejection.find::<PayloadTooLarge>().is_some() {
        return Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request's body is too large",
        );
    }
    if rejection.find::<UnsupportedMediaType>().is_some() {
        return Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the request's body is of a type that is not understood",
        );
    }
    if let Some(error) = rejection.find::<warp::cors::CorsForbidden>() {
        return Problem::new(StatusCode::FORBIDDEN, error.to_string());
    }
    if rejection.find::<MethodNotAllowed>().is_some() {
        return Problem::method_not_allowed(crate::http::resources::READ);
    }
    if rejection.is_not_found() {
        return Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address");
    }
    tracing::error!(?rejection, "a request was rejected for an unknown reason");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the relay could not answer this; its log says why",
    )
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use serde_json::Value;
    use warp::Filter;

    use super::*;

    /// What a client is told by routes like these: the status, some headers and the body.
    async fn told(method: Method, path: &str) -> (u16, HeaderMap, Value) {
        let refused = warp::path!("refused").and_then(|| async {
            Err::<String, _>(warp::reject::custom(Problem::invalid(
                "limit",
                "expected a number",
            )))
        });
        let greeting = warp::path!("greeting")
            .and(warp::get())
            .map(|| "hello".to_owned());
        let keyed = warp::path!("keyed")
            .and(warp::header::header::<u32>("x-key"))
            .map(|key: u32| key.to_string());
        let posted = warp::path!("posted")
            .and(warp::body::content_length_limit(3))
            .map(String::new);
        let routes = refused
            .or(greeting)
            .unify()
            .or(keyed)
            .unify()
            .or(posted)
            .unify()
            .recover(recover);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(warp::serve(routes).incoming(listener).run());
        let answer = reqwest::Client::new()
            .request(method, format!("http://{address}{path}"))
            .body("four")
            .send()
            .await
            .expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(headers["cache-control"], "no-store");
        let body = answer.json().await.expect("a body");
        server.abort();
        (status, headers, body)
    }

    #[tokio::test]
    async fn whatever_rejects_a_request_is_told_as_problem_details() {
        for (method, path, status) in [
            (Method::GET, "/nowhere", 404),
            (Method::DELETE, "/greeting", 405),
            (Method::GET, "/keyed", 400),
            (Method::GET, "/refused", 400),
            (Method::POST, "/posted", 413),
        ] {
            let (told, _, body) = told(method, path).await;
            assert_eq!(told, status, "{path}: {body}");
            assert_eq!(body["status"], status);
            assert!(
                body["detail"]
                    .as_str()
                    .is_some_and(|detail| !detail.is_empty())
            );
            assert!(body["title"].is_string() && body["type"].is_string());
        }
    }

    #[tokio::test]
    async fn a_problem_names_the_field_and_the_methods_that_are_allowed() {
        let (_, _, body) = told(Method::GET, "/refused").await;
        assert_eq!(body["field"], "limit");
        assert_eq!(body["detail"], "limit: expected a number");
        let (_, _, body) = told(Method::GET, "/keyed").await;
        assert_eq!(body["field"], "x-key");
        let (_, headers, body) = told(Method::DELETE, "/greeting").await;
        assert_eq!(headers["allow"], "GET, HEAD, OPTIONS");
        assert!(body.get("field").is_none());
    }
}
