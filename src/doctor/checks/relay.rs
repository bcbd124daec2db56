//! Is the relay ready, and does it answer on a socket?

use std::time::{Duration, Instant};

use reqwest::Url;
use serde_json::Value;

use crate::doctor::report::{Finding, Status};
use crate::doctor::session::CheckError;
use crate::doctor::socket::Socket;

pub(in crate::doctor) async fn check(relay: &Url, limit: Duration) -> Result<Finding, CheckError> {
    let ready = match readiness(relay, limit).await {
        Ok(ready) => ready,
        Err(error) => {
            return Ok(Finding::failure(
                error.chain(),
                "start a relay (`bellwether serve`), or see that its address is right and nothing stands in the way",
            ));
        }
    };
    let (code, status) = ready;
    let word = |name: &str| status[name].as_str().unwrap_or_default().to_owned();
    let began = Instant::now();
    let greeting = Socket::open(relay, &[("topics", "none")])
        .await?
        .frame("status")
        .await;
    let took = began.elapsed().as_secs_f64() * 1000.0;
    let mut finding = Finding::ok(format!(
        "/readyz answers {code}: {}; a WebSocket is greeted after {took:.1} ms",
        word("status")
    ));
    if code != 200 {
        finding.add(
            Status::Failure,
            format!("out of touch with its database: {}", word("reason")),
            "see the checks of the database above, from the relay's machine, and the relay's log",
        );
    } else if word("status") != "live" {
        finding.add(
            Status::Warning,
            word("reason"),
            "wait until it has caught up",
        );
    }
    if let Err(error) = greeting {
        finding.add(
            Status::Failure,
            format!("no WebSocket: {}", error.chain()),
            "let the proxy before the relay pass WebSocket upgrades",
        );
    }
    Ok(finding
        .figure("ready_status", code)
        .figure("liveness", word("status"))
        .figure("greeting_ms", took))
}

async fn readiness(relay: &Url, limit: Duration) -> Result<(u16, Value), CheckError> {
    let failed = |error: reqwest::Error| CheckError::Http(error);
    let url = relay
        .join("readyz")
        .map_err(|error| CheckError::Relay(error.to_string()))?;
    let client = reqwest::Client::builder()
        .timeout(limit)
        .build()
        .map_err(failed)?;
    let answer = client.get(url).send().await.map_err(failed)?;
    let code = answer.status().as_u16();
    let text = answer.text().await.map_err(failed)?;
    let status: Value = serde_json::from_str(&text)
        .map_err(|_| CheckError::Relay(format!("/readyz answered {code}, and no JSON")))?;
    if status["status"].is_string() {
        Ok((code, status))
    } else {
        Err(CheckError::Relay(format!(
            "/readyz answered {code} without a status: is this a relay?"
        )))
    }
}
