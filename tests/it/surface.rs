//! What holds for every request, as browsers, proxies and hostile clients meet it.

use std::io::Read;

use flate2::read::GzDecoder;
use futures::StreamExt;
use reqwest::{Method, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::relay::Relay;
use crate::support::{PATIENCE, TestDatabase};

async fn send(relay: &Relay, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = reqwest::Client::new().request(method, format!("http://{}{path}", relay.address));
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    request.send().await.expect("an answer")
}

fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

/// What comes back for these bytes until the relay closes the connection.
async fn raw(relay: &Relay, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(relay.address).await.expect("connected");
    // The relay may have closed before it has heard everything.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let reading = socket.read_to_end(&mut answer);
    let _ = timeout(PATIENCE, reading).await.expect("closed in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn every_refusal_is_problem_details_and_no_answer_runs_in_a_browser() {
    let database = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let long = format!("/api/operations?q={}", "x".repeat(60_000));
    for (method, path, headers, status) in [
        (Method::GET, "/api/nothing", &[][..], 404),
        (Method::GET, "/api/operations/", &[], 404),
        (Method::GET, "/nothing.js", &[], 404),
        (Method::POST, "/api/nothing", &[], 404),
        (Method::POST, "/api/health", &[], 405),
        (Method::DELETE, "/", &[], 405),
        (Method::HEAD, "/events", &[], 405),
        (Method::POST, "/ws", &[], 405),
        (Method::GET, "/ws", &[], 426),
        (Method::GET, "/api/operations?owner=%ff", &[], 400),
        (Method::GET, "/events?owner=%ff", &[], 400),
        (Method::GET, "/events?colour=red", &[], 400),
        (Method::GET, "/api/health", &[("accept", "text/html")], 406),
        (
            Method::GET,
            "/api/operations",
            &[("accept", "image/*")],
            406,
        ),
        (Method::GET, &long, &[], 414),
        (Method::GET, "/livez", &[("host", "evil.example")], 421),
        (
            Method::GET,
            "/events",
            &[("origin", "http://evil.example")],
            403,
        ),
    ] {
        let is_head = method == Method::HEAD;
        let what = format!("{method} {path}");
        let answer = send(&relay, method, path, headers).await;
        assert_eq!(answer.status(), status, "{what}");
        assert_eq!(
            header(&answer, "content-type"),
            Some("application/problem+json"),
            "{what}"
        );
        assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"));
        assert_eq!(header(&answer, "cache-control"), Some("no-store"), "{what}");
        assert_eq!(
            header(&answer, "content-security-policy"),
            Some("default-src 'none'; frame-ancestors 'none'")
        );
        assert_eq!(status == 405, header(&answer, "allow").is_some(), "{what}");
        if !is_head {
            let problem: Value = answer.json().await.expect("a problem");
            assert_eq!(problem["status"], status, "{what}");
            assert!(
                problem["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.len() < 300),
                "{what}: {problem}"
            );
        }
    }
    let refused = send(&relay, Method::POST, "/events", &[]).await;
    assert_eq!(header(&refused, "allow"), Some("GET, OPTIONS"));
    let refused = send(&relay, Method::GET, "/events?colour=red", &[]).await;
    let problem: Value = refused.json().await.expect("a problem");
    assert_eq!(problem["field"], "colour");
}

#[tokio::test]
async fn pages_of_allowed_origins_may_read_and_others_may_not() {
    let database = TestDatabase::new().await;
    let good = "https://good.example";
    let relay = Relay::start(&database.url(), &["--allow-origin", good]).await;
    let ask = async |method, path: &str, origin| {
        let headers = [("origin", origin), ("access-control-request-method", "GET")];
        send(&relay, method, path, &headers).await
    };
    for path in [
        "/api/health",
        "/api/operations/nonsense",
        "/api/operations?format=csv",
        "/readyz",
        "/events",
    ] {
        let answer = ask(Method::GET, path, good).await;
        assert_eq!(
            header(&answer, "access-control-allow-origin"),
            Some(good),
            "{path}"
        );
        assert!(
            header(&answer, "vary").is_some_and(|vary| vary.contains("Origin")),
            "{path}"
        );
        assert!(
            header(&answer, "access-control-expose-headers")
                .is_some_and(|names| names.contains("Retry-After"))
        );
        assert_eq!(header(&answer, "access-control-allow-credentials"), None);
        let preflight = ask(Method::OPTIONS, path, good).await;
        assert_eq!(preflight.status(), 204, "{path}");
        assert_eq!(
            header(&preflight, "access-control-allow-origin"),
            Some(good)
        );
        assert!(
            header(&preflight, "access-control-allow-methods")
                .is_some_and(|methods| methods.starts_with("GET"))
        );
        assert!(
            header(&preflight, "access-control-allow-headers")
                .is_some_and(|names| names.contains("Last-Event-ID"))
        );

        let answer = ask(Method::GET, path, "https://evil.example").await;
        assert_eq!(
            header(&answer, "access-control-allow-origin"),
            None,
            "{path}"
        );
        assert!(
            header(&answer, "vary").is_some_and(|vary| vary.contains("Origin")),
            "{path}"
        );
        let preflight = ask(Method::OPTIONS, path, "https://evil.example").await;
        assert_eq!(preflight.status(), 403, "{path}");
    }
    let plain = send(&relay, Method::OPTIONS, "/api/health", &[]).await;
    assert_eq!(
        (plain.status().as_u16(), header(&plain, "allow")),
        (204, Some("GET, HEAD, OPTIONS"))
    );
    // The files are for everyone: they show nothing by themselves.
    let page = ask(Method::GET, "/", "https://evil.example").await;
    assert_eq!(header(&page, "access-control-allow-origin"), Some("*"));
    assert_eq!(
        header(&page, "cross-origin-resource-policy"),
        Some("cross-origin")
    );
}

#[tokio::test]
async fn long_answers_are_compressed_for_who_takes_that_and_events_never() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    client
        .batch_execute("INSERT INTO sync_operations (operation_type, owner) SELECT 'upload', n FROM generate_series(1, 3000) AS n")
        .await
        .expect("written");
    let relay = Relay::start(&database.url(), &[]).await;
    let gzip = [("accept-encoding", "gzip, br")];
    for path in [
        "/api/operations?limit=500",
        "/api/operations?format=csv",
        "/api/operations?format=ndjson",
    ] {
        let plain = send(&relay, Method::GET, path, &[]).await;
        assert_eq!(header(&plain, "content-encoding"), None, "{path}");
        let plain = plain.bytes().await.expect("a body");
        let answer = send(&relay, Method::GET, path, &gzip).await;
        assert_eq!(header(&answer, "content-encoding"), Some("gzip"), "{path}");
        let vary = header(&answer, "vary").expect("it varies");
        let mut varies: Vec<&str> = vary.split(", ").collect();
        varies.sort_unstable();
        assert_eq!(varies, ["Accept", "Accept-Encoding", "Origin"], "{path}");
        let compressed = answer.bytes().await.expect("a body");
        let mut read = Vec::new();
        GzDecoder::new(&*compressed)
            .read_to_end(&mut read)
            .expect("gzip");
        assert!(read == plain, "{path}");
        assert!(
            compressed.len() * 4 < plain.len(),
            "{path}: {} of {}",
            compressed.len(),
            plain.len()
        );
    }
    let short = send(&relay, Method::GET, "/readyz", &gzip).await;
    assert_eq!(header(&short, "content-encoding"), None);
    let stream = send(&relay, Method::GET, "/events", &gzip).await;
    assert_eq!(header(&stream, "content-encoding"), None);
    assert_eq!(header(&stream, "content-type"), Some("text/event-stream"));
    let first = timeout(PATIENCE, stream.bytes_stream().next())
        .await
        .expect("at once");
    assert!(
        first
            .expect("open")
            .expect("a body")
            .starts_with(b"event:hello")
    );
}

#[tokio::test]
async fn a_document_that_the_client_has_is_not_sent_again() {
    let database = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &[]).await;
    for path in [
        "/api/openapi.json",
        "/api/asyncapi.json",
        "/api/schema.json",
    ] {
        let first = send(&relay, Method::GET, path, &[("accept-encoding", "br")]).await;
        assert_eq!(header(&first, "content-encoding"), Some("br"), "{path}");
        assert_eq!(header(&first, "cache-control"), Some("no-cache"), "{path}");
        let tag = header(&first, "etag").expect("a tag").to_owned();
        let again = [("accept-encoding", "br"), ("if-none-match", &*tag)];
        let again = send(&relay, Method::GET, path, &again).await;
        assert_eq!(
            (again.status().as_u16(), header(&again, "etag")),
            (304, Some(&*tag)),
            "{path}"
        );
        let head = send(&relay, Method::HEAD, path, &[("accept-encoding", "br")]).await;
        assert_eq!(
            header(&head, "content-length"),
            header(&first, "content-length"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_breaks_the_rules_of_http_is_refused_and_the_relay_goes_on() {
    let database = TestDatabase::new().await;
    let relay = Relay::start(&database.url(), &[]).await;
    let huge_field = format!(
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nx: {}\r\n\r\n",
        "y".repeat(200_000)
    );
    let many_fields = format!(
        "GET /livez HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "x: y\r\n".repeat(200)
    );
    let huge_target = format!(
        "GET /livez?{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "x".repeat(100_000)
    );
    for (bytes, status) in [
        (
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "200",
        ),
        (
            "GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "200",
        ),
        ("GET /livez HTTP/1.0\r\n\r\n", "200"),
        (
            "BREW /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "405",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "204",
        ),
        ("nonsense\r\n\r\n", "400"),
        (
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nx y: z\r\n\r\n",
            "400",
        ),
        (
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "400",
        ),
        (&*huge_field, "431"),
        (&*many_fields, "431"),
        (&*huge_target, "414"),
        // Ten gigabytes are announced; nobody waits for them.
        (
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000000\r\n\r\nx",
            "413",
        ),
        (
            "GET /%00/%0d%0aX-Injected:%201 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "",
        ),
        (
            "GET /api/operations/%0d%0aX-Injected:%201 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "400",
        ),
        (
            "GET /api/operations?%0d%0aX-Injected:%201 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "400",
        ),
    ] {
        let what: String = bytes.chars().take(80).collect();
        let answer = raw(&relay, bytes.as_bytes()).await;
        let (head, _) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{what:?}: {answer:?}"));
        assert!(
            head.split(' ')
                .nth(1)
                .is_some_and(|told| told.starts_with(status)),
            "{what:?}: {head}"
        );
        assert!(
            !head.to_ascii_lowercase().contains("x-injected"),
            "{what:?}: {head}"
        );
    }
    assert_eq!(relay.get("/livez").await.status(), 200);
}
