//! Opens the WebSocket, and tells answers that will change by themselves from those that will not.

use std::time::Duration;

use reqwest::Url;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Error,
        client::IntoClientRequest,
        handshake::client::Response,
        http::{HeaderValue, StatusCode, header},
    },
};

use super::{
    TailError,
    frame::ReconnectHints,
    session::LONGEST_ANSWER,
    text::{length, safe},
};

/// How long the relay may take to take a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// What the relay writes down about us.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("bellwether-tail/", env!("CARGO_PKG_VERSION")));

/// A connection to the relay.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection that is to be made again.
#[derive(Debug, Default)]
pub(super) struct Loss {
    /// Why, for people.
    pub(super) reason: String,
    /// The relay asked not to be tried before.
    pub(super) retry_after: Option<Duration>,
    /// It had worked.
    pub(super) had_worked: bool,
    /// How the relay wants to be come back to.
    pub(super) hints: Option<ReconnectHints>,
}

/// Makes the connection; the inner error is worth another try, the outer one is not.
pub(super) async fn connect(url: &Url) -> Result<Result<Socket, Loss>, TailError> {
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|_| TailError::Url {
            url: url.to_string(),
            expected: "http://host:port",
        })?;
    request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
    let lost = |reason: String| Loss {
        reason,
        ..Loss::default()
    };
    let connecting = connect_async_with_config(request, None, true);
    let connected = match timeout(CONNECT_LIMIT, connecting).await {
        Ok(connected) => connected,
        Err(_) => {
            let limit = length(CONNECT_LIMIT.as_secs_f64());
            return Ok(Err(lost(format!("no answer within {limit}"))));
        }
    };
    Ok(match connected {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(refused(&response)?),
        Err(Error::Io(error)) => Err(lost(error.to_string())), // without the driver's prefix
        Err(error) => Err(lost(error.to_string())),
    })
}

/// An answer that is no WebSocket: busy for now, or wrong for good.
fn refused(response: &Response) -> Result<Loss, TailError> {
    let status = response.status();
    let body = response
        .body()
        .as_deref()
        .map(String::from_utf8_lossy)
        .unwrap_or_default();
    let answer = safe(body.trim(), LONGEST_ANSWER);
    let is_passing = status.is_server_error()
        || [
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_EARLY,
            StatusCode::TOO_MANY_REQUESTS,
        ]
        .contains(&status);
    if !is_passing {
        return Err(TailError::Refused {
            status: status.as_u16(),
            answer,
        });
    }
    let seconds = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(Loss {
        reason: format!("the relay answered {status}: {answer}"),
        retry_after: seconds.map(Duration::from_secs),
        ..Loss::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Response {
        let mut response = Response::new(Some(body.as_bytes().to_vec()));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        response
    }

    #[test]
    fn a_busy_relay_is_tried_again_when_it_says_so() {
        let mut busy = answer(503, "full\n");
        busy.headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        let loss = refused(&busy).expect("worth another try");
        assert_eq!(loss.retry_after, Some(Duration::from_secs(7)));
        assert!(loss.reason.ends_with(": full"), "{}", loss.reason);
        assert!(refused(&answer(429, "")).is_ok());
    }

    #[test]
    fn an_answer_that_will_not_change_is_an_error_with_the_servers_words() {
        for status in [200, 301, 400, 401, 403, 404] {
            let error = refused(&answer(status, "no\x1b[2J"))
                .expect_err("final")
                .to_string();
            assert!(
                error.contains(&status.to_string()) && error.ends_with("no␛[2J"),
                "{error}"
            );
        }
    }
}
