//! The read API over a real socket, on a real database.

mod export;
mod history;
mod lists;
mod plans;
mod problems;
mod single;
mod statistics;
mod timeline_index;

use std::net::SocketAddr;

use bellwether::http::api;
use deadpool_postgres::Pool;
use reqwest::{Method, Response};
use serde_json::Value;
use tokio::{net::TcpListener, task::AbortHandle};
use tokio_postgres::Client;

use crate::support::{TestDatabase, chain};

/// The API of one database, served until dropped.
struct Api {
    address: SocketAddr,
    pool: Pool,
    server: AbortHandle,
}

impl Api {
    /// Serves the database with this many sessions.
    async fn of(database: &TestDatabase, sessions: usize) -> Self {
        Self::with(database.config().pool(sessions)).await
    }

    async fn with(pool: Pool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = warp::serve(api::routes(pool.clone())).incoming(listener);
        let server = tokio::spawn(server.run()).abort_handle();
        Self {
            address,
            pool,
            server,
        }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let request =
            reqwest::Client::new().request(method, format!("http://{}/api/{path}", self.address));
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{path}: {}", chain(&error)))
    }

    /// The answer, whatever it says.
    async fn ask(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[]).await
    }

    /// The JSON of an answer that is expected to be one.
    async fn get(&self, path: &str) -> Value {
        let answer = self.ask(path).await;
        let (status, kind) = (answer.status(), answer.headers()["content-type"].clone());
        let text = answer.text().await.expect("a body");
        assert_eq!(status, 200, "{path}: {text}");
        assert_eq!(kind, "application/json", "{path}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// The text of an answer that is expected to be one.
    async fn text(&self, path: &str) -> String {
        let answer = self.ask(path).await;
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert_eq!(status, 200, "{path}: {text}");
        text
    }

    /// The problem of an answer that is expected to be one.
    async fn problem(&self, path: &str) -> Value {
        let answer = self.ask(path).await;
        assert_eq!(
            answer.headers()["content-type"],
            "application/problem+json",
            "{path}"
        );
        let status = answer.status().as_u16();
        let problem: Value = answer.json().await.expect("a problem");
        assert_eq!(problem["status"], status, "{path}: {problem}");
        problem
    }

    /// One column of a list.
    async fn column(&self, path: &str, list: &str, column: &str) -> Vec<String> {
        column_of(&self.get(path).await[list], column)
    }

    /// One column of a whole list, page by page.
    async fn walk(&self, path: &str, list: &str, column: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut page = self.get(path).await;
        loop {
            all.extend(column_of(&page[list], column));
            let Some(next) = page["next"].as_str() else {
                return all;
            };
            page = self.get(&format!("{path}&page={next}")).await;
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn column_of(rows: &Value, column: &str) -> Vec<String> {
    let rows = rows.as_array().expect("a list");
    let text = |row: &Value| match &row[column] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    rows.iter().map(text).collect()
}

async fn execute(client: &Client, statements: &str) {
    client
        .batch_execute(statements)
        .await
        .unwrap_or_else(|error| panic!("{statements}: {}", chain(&error)));
}

/// One text of the database.
async fn value(client: &Client, statement: &str) -> String {
    client
        .query_one(&format!("SELECT ({statement})::text"), &[])
        .await
        .unwrap_or_else(|error| panic!("{statement}: {}", chain(&error)))
        .get(0)
}

/// One column of the database as texts.
async fn values(client: &Client, statement: &str) -> Vec<String> {
    client
        .query(statement, &[])
        .await
        .unwrap_or_else(|error| panic!("{statement}: {}", chain(&error)))
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// The id of the operation with this number in fixtures.
fn id(number: u32) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}
