//! Real answers of every path, good and bad, against the OpenAPI document.

use std::collections::BTreeSet;

use reqwest::{Method, Response};
use serde_json::Value;

use super::{Schemas, assert_valid};
use crate::support::relay::{Relay, text};
use crate::support::{PrivateServer, eventually};

const OPERATION: &str = "00000000-0000-0000-0000-00000000000a";
const FIXTURE: &str = "
    INSERT INTO sync_operations (id, operation_type, owner, status, total_items, processed_items)
    VALUES ('00000000-0000-0000-0000-00000000000a', 'upload', 'ann', 'in_progress', 4, 1);
    INSERT INTO sync_operations (operation_type, status, error) VALUES ('upload', 'failed', 'no'), ('delete', 'completed', NULL);
    SELECT record_sync_error('00000000-0000-0000-0000-00000000000a', 'denied') FROM generate_series(1, 3);
    SELECT report_connection('app', 'connected', 12.5);
    SELECT create_sync_status_snapshot() FROM generate_series(1, 3);
    UPDATE sync_operations SET message = 'moved'";

/// The document, and what of it has been met.
struct Described {
    schemas: Schemas,
    met: BTreeSet<(String, u16)>,
}

impl Described {
    async fn by(relay: &Relay) -> Self {
        let document = relay
            .get("/api/openapi.json")
            .await
            .json()
            .await
            .expect("a document");
        Self {
            schemas: Schemas::strict(document, "/components/schemas"),
            met: BTreeSet::new(),
        }
    }

    fn paths(&self) -> Vec<String> {
        self.schemas.document["paths"]
            .as_object()
            .expect("paths")
            .keys()
            .cloned()
            .collect()
    }

    fn operation(&self, path: &str) -> &Value {
        let operation = &self.schemas.document["paths"][path]["get"];
        assert!(operation.is_object(), "{path} is not described");
        operation
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self
                .schemas
                .document
                .pointer(&reference[1..])
                .expect("a place"),
            None => value,
        }
    }

    /// The names of a path's parameters in the query.
    fn parameters(&self, path: &str) -> BTreeSet<String> {
        let parameters = self.operation(path)["parameters"].as_array();
        parameters
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| text(&parameter["name"]))
            .collect()
    }

    /// Holds an answer against what the document says of it.
    async fn check(&mut self, path: &str, answer: Response) {
        let status = answer.status().as_u16();
        let what = format!("{path} {status}");
        let described = &self.operation(path)["responses"][status.to_string()];
        assert!(
            described.is_object(),
            "{what} is not described: {:?}",
            answer.text().await
        );
        let described = self.resolved(described).clone();
        for (name, _) in described["headers"].as_object().into_iter().flatten() {
            assert!(
                answer.headers().contains_key(name.as_str()),
                "{what} has no {name}"
            );
        }
        let kind = answer
            .headers()
            .get("content-type")
            .map(|kind| kind.to_str().expect("text").to_owned());
        let contents = described["content"].as_object();
        let found = contents.into_iter().flatten().find(|(described, _)| {
            kind.as_deref().is_some_and(|kind| {
                kind == *described || kind.starts_with(&format!("{described};"))
            })
        });
        if contents.is_none() || kind.as_deref() == Some("text/event-stream") {
            assert!(contents.is_none() || found.is_some(), "{what} is {kind:?}");
        } else {
            let (kind, content) =
                found.unwrap_or_else(|| panic!("{what} as {kind:?} is not described"));
            let body = answer.text().await.expect("a body");
            let schema = &content["schema"];
            let validator = self.schemas.validator(schema);
            match &**kind {
                "application/x-ndjson" => {
                    let row = text(&schema["description"])
                        .trim_end_matches('.')
                        .rsplit(' ')
                        .next()
                        .expect("a name")
                        .to_owned();
                    let validator = self.schemas.named(&row);
                    for line in body.lines() {
                        assert_valid(
                            &validator,
                            &serde_json::from_str(line).expect("JSON"),
                            &what,
                        );
                    }
                }
                kind if kind.ends_with("json") => assert_valid(
                    &validator,
                    &serde_json::from_str(&body).expect("JSON"),
                    &what,
                ),
                _ => assert_valid(&validator, &body.into(), &what),
            }
        }
        self.met.insert((path.to_owned(), status));
    }
}

/// A path with its parameter in place.
fn actual(path: &str) -> String {
    path.replace("{id}", OPERATION)
}

async fn send(relay: &Relay, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = reqwest::Client::new().request(method, format!("http://{}{path}", relay.address));
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    request.send().await.expect("an answer")
}

#[tokio::test]
async fn every_answer_is_as_the_openapi_document_says() {
    let server = PrivateServer::migrated().await;
    let client = server.client().await;
    client.batch_execute(FIXTURE).await.expect("written");
    let relay = Relay::start(
        &server.url(),
        &["--max-subscribers", "1", "--patience", "1s"],
    )
    .await;
    let mut described = Described::by(&relay).await;
    let mut socket = relay.subscribe("").await;
    socket.live().await;

    let one = actual("/api/operations/{id}");
    for (path, actual) in [
        ("/api/operations", "/api/operations"),
        (
            "/api/operations",
            "/api/operations?limit=1&status=failed,completed&q=O&sort=-completed_at&active=false",
        ),
        ("/api/operations", "/api/operations?format=ndjson"),
        ("/api/operations", "/api/operations?format=csv"),
        ("/api/operations/{id}", &*one),
        (
            "/api/operations/{id}/errors",
            &format!("{one}/errors?limit=2"),
        ),
        (
            "/api/operations/{id}/errors",
            &format!("{one}/errors?format=ndjson"),
        ),
        (
            "/api/operations/{id}/events",
            &format!("{one}/events?limit=1&sort=-id"),
        ),
        ("/api/operations/{id}/events", &format!("{one}/events")),
        ("/api/connections", "/api/connections"),
        ("/api/connections", "/api/connections?format=ndjson"),
        ("/api/health", "/api/health"),
        ("/api/snapshots", "/api/snapshots?limit=1"),
        ("/api/snapshots", "/api/snapshots?format=ndjson"),
        ("/api/statistics", "/api/statistics?owner=ann"),
        ("/api/statistics", "/api/statistics"),
        ("/api/openapi.json", "/api/openapi.json"),
        ("/api/asyncapi.json", "/api/asyncapi.json"),
        ("/api/schema.json", "/api/schema.json"),
        ("/livez", "/livez"),
        ("/readyz", "/readyz"),
    ] {
        described.check(path, relay.get(actual).await).await;
    }
    for path in [
        "/api/openapi.json",
        "/api/asyncapi.json",
        "/api/schema.json",
    ] {
        described
            .check(
                path,
                send(&relay, Method::GET, path, &[("if-none-match", "*")]).await,
            )
            .await;
    }
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    // The socket above is all that there may be.
    described
        .check("/ws", send(&relay, Method::GET, "/ws", &upgrade).await)
        .await;
    described.check("/events", relay.get("/events").await).await;
    drop(socket);
    eventually("there is room for another", async || {
        relay.get("/events").await.status() == 200
    })
    .await;
    eventually("there is room for another", async || {
        let answer = send(&relay, Method::GET, "/ws", &upgrade).await;
        let is_open = answer.status() == 101;
        if is_open {
            described.check("/ws", answer).await;
        }
        is_open
    })
    .await;
    eventually("there is room for another", async || {
        let answer = relay.get("/events").await;
        let is_open = answer.status() == 200;
        if is_open {
            described.check("/events", answer).await;
        }
        is_open
    })
    .await;

    refusals(&relay, &mut described).await;
    drop((client, server));
    eventually("the relay notices", async || {
        relay.get("/readyz").await.status() == 503
    })
    .await;
    for path in described.paths() {
        if path.starts_with("/api") && !path.ends_with(".json") || path == "/readyz" {
            let answer = relay.get(&actual(&path)).await;
            assert_eq!(answer.status(), 503, "{path}");
            described.check(&path, answer).await;
        }
    }

    for path in described.paths() {
        let responses = described.operation(&path)["responses"]
            .as_object()
            .expect("responses")
            .clone();
        for status in responses.keys() {
            let status: u16 = status.parse().expect("a status");
            // What a broken or a slow database is told as, the tests of the read API see.
            if status != 500 && status != 504 {
                assert!(
                    described.met.contains(&(path.clone(), status)),
                    "{path} was never answered with {status}"
                );
            }
        }
    }
    relay.stop().await;
}

/// Everything that is refused, on every path where it may be.
async fn refusals(relay: &Relay, described: &mut Described) {
    let long = format!("?x={}", "y".repeat(57 * 1024));
    let large = "z".repeat(65 * 1024);
    for path in described.paths() {
        let actual = actual(&path);
        let unknown = format!("{actual}?no_such_parameter=1");
        let answer = if path == "/ws" {
            // Told on the socket; here what no WebSocket could carry.
            send(relay, Method::GET, "/ws?x=%ff", &[]).await
        } else if path == "/livez" || path == "/readyz" {
            send(relay, Method::GET, &format!("{actual}?x=%ff"), &[]).await
        } else {
            let answer = relay.get(&unknown).await;
            assert_eq!(answer.status(), 400, "{path}");
            let problem: Value = answer.json().await.expect("a problem");
            let named = names(&text(&problem["detail"]));
            let mut known = described.parameters(&path);
            if path == "/events" {
                // Other spellings of since, for browsers.
                known.remove("Last-Event-ID");
                known.remove("lastEventId");
            }
            assert_eq!(named, known, "{path}: what is known is what is described");
            relay.get(&unknown).await
        };
        described.check(&path, answer).await;
        described
            .check(&path, send(relay, Method::POST, &actual, &[]).await)
            .await;
        described
            .check(&path, relay.get(&format!("{actual}{long}")).await)
            .await;
        described
            .check(
                &path,
                send(relay, Method::GET, &actual, &[("x-large", &large)]).await,
            )
            .await;
        described
            .check(
                &path,
                send(relay, Method::GET, &actual, &[("host", "evil.example")]).await,
            )
            .await;
        let refused = loop {
            let request = reqwest::Client::new()
                .get(format!("http://{}{actual}", relay.address))
                .body(vec![b'x'; 65 * 1024]);
            // The relay may close before it has heard everything; then the answer may be lost on the way.
            if let Ok(answer) = request.send().await {
                break answer;
            }
        };
        described.check(&path, refused).await;
        if described.operation(&path)["responses"]["406"].is_object() {
            described
                .check(
                    &path,
                    send(relay, Method::GET, &actual, &[("accept", "image/png")]).await,
                )
                .await;
        }
    }
    let nobody = "00000000-0000-0000-0000-0000000000ff";
    for path in described
        .paths()
        .into_iter()
        .filter(|path| path.contains("{id}"))
    {
        described
            .check(&path, relay.get(&path.replace("{id}", nobody)).await)
            .await;
    }
    described.check("/ws", relay.get("/ws").await).await;
    described
        .check(
            "/events",
            send(
                relay,
                Method::GET,
                "/events",
                &[("origin", "https://evil.example")],
            )
            .await,
        )
        .await;
}

/// The names that a problem says were expected.
fn names(detail: &str) -> BTreeSet<String> {
    match detail.split_once("expected one of ") {
        Some((_, names)) => names.split(", ").map(str::to_owned).collect(),
        None => BTreeSet::new(),
    }
}
