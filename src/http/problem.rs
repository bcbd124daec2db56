//! What went wrong, told as RFC 9457 problem details: `application/problem+json` with `type`, `title`, `status`,
//! `detail` and, where one is to blame, the `field`.

mod rejection;

use std::error::Error;
use std::time::Duration;

use serde::Serialize;
use warp::Reply;
use warp::http::{HeaderValue, StatusCode, header};
use warp::reject::Reject;
use warp::reply::Response;

pub(crate) use self::rejection::recover;
use super::protocol::shortened;
use crate::postgres::read::ReadError;

/// When to come again after the database was away.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// The type of a problem with one field of a request.
const INVALID_FIELD: &str = "urn:bellwether:problem:invalid-field";

/// Why a request was not answered as asked. Both a reply and a rejection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    field: Option<String>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
}

impl Problem {
    /// A problem that the status says all about, and a sentence for people.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            field: None,
            retry_after: None,
            allow: None,
        }
    }

    /// A bad value: which field of the request it is in, and what was expected.
    pub(crate) fn invalid(field: impl Into<String>, expected: impl std::fmt::Display) -> Self {
        let field = shortened(&field.into());
        let detail = format!("{field}: {expected}");
        Self {
            field: Some(field),
            ..Self::new(StatusCode::BAD_REQUEST, detail)
        }
    }

    /// Which field of the request it is about.
    pub(crate) fn about(self, field: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..self
        }
    }

    /// A method that the resource does not have; `allow` lists those that it has.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("the method is not allowed here; expected one of {allow}");
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        }
    }

    /// A problem that passes: come again after this time.
    pub(crate) fn passing(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    /// The reply.
    pub(crate) fn into_response(self) -> Response {
        /// The body.
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            field: Option<&'a str>,
        }
        let (kind, title) = match self.field {
            Some(_) if self.status == StatusCode::BAD_REQUEST => (INVALID_FIELD, "Invalid field"),
            _ => (
                "about:blank",
                self.status.canonical_reason().unwrap_or("Unknown"),
            ),
        };
        let body = Body {
            kind,
            title,
            status: self.status.as_u16(),
            detail: &self.detail,
            field: self.field.as_deref(),
        };
        let mut response = warp::reply::json(&body).into_response();
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl Reply for Problem {
    fn into_response(self) -> Response {
        self.into_response()
    }
}

impl Reject for Problem {}

/// What could not be read. The details of a failure are for the log, not for whoever asks.
impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let source = &error as &dyn Error;
        match error {
            ReadError::NoSession(_) | ReadError::Away(_) => {
                tracing::warn!(error = source, "a read found no database");
                Self::passing("the database is away; try again", RETRY_AFTER)
            }
            ReadError::TooSlow(limit) => {
                tracing::warn!(error = source, "a read was given up");
                let limit = limit.as_secs();
                Self::new(
                    StatusCode::GATEWAY_TIMEOUT,
                    format!(
                        "the database took longer than {limit} s; narrow the request, for example to a span of time"
                    ),
                )
            }
            ReadError::Refused(_) | ReadError::Strange(_) => {
                tracing::error!(error = source, "a read failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the relay could not read this; its log says why",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passing_problem_says_when_to_come_again() {
        let response = Problem::passing("away", Duration::from_secs(2)).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "2");
    }
}
