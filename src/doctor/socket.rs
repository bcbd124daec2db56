//! A WebSocket to the relay, as any client has it.

use futures::StreamExt;
use reqwest::Url;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::session::CheckError;

/// An open socket; dropping it closes it.
pub(super) struct Socket {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    /// Connects with a query.
    pub(super) async fn open(relay: &Url, query: &[(&str, &str)]) -> Result<Self, CheckError> {
        let wrong = |error: &dyn std::fmt::Display| CheckError::Relay(error.to_string());
        let mut url = relay.join("ws").map_err(|error| wrong(&error))?;
        url.set_scheme("ws")
            .map_err(|()| CheckError::Relay("its address is not http://host:port".to_owned()))?;
        url.query_pairs_mut().extend_pairs(query);
        let (socket, _) = connect_async(url.as_str())
            .await
            .map_err(|error| wrong(&error))?;
        Ok(Self { socket })
    }

    /// The next frame of this type; the others are passed over.
    pub(super) async fn frame(&mut self, kind: &str) -> Result<Value, CheckError> {
        loop {
            let message = match self.socket.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(CheckError::Relay(error.to_string())),
                None => return Err(CheckError::Relay("it closed the socket".to_owned())),
            };
            let Message::Text(text) = message else {
                continue;
            };
            let frame: Value = serde_json::from_str(&text)
                .map_err(|error| CheckError::Relay(error.to_string()))?;
            match frame["type"].as_str() {
                Some(found) if found == kind => return Ok(frame),
                Some("error" | "closing") => return Err(CheckError::Relay(text.to_string())),
                _ => {}
            }
        }
    }
}
