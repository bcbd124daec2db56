//! What tests stand on: real PostgreSQL.
//!
//! `make test` starts one server and names it in `BELLWETHER_TEST_DATABASE_URL`. Without the variable each test process
//! starts a server of its own when it first needs one, so a single test runs by itself: `cargo nextest run NAME`.
//!
//! Tests wait for signals and never for a time to pass; [`eventually`] is for what can only be asked for again.

// Not every helper has a user at every moment of the project's life.
#![allow(dead_code, reason = "helpers for all test modules")]

mod database;
mod options;
mod private_server;
pub(crate) mod relay;
mod shared_server;

use std::time::Duration;

pub(crate) use self::{
    database::{TestDatabase, connect_as_application},
    options::server_options,
    private_server::PrivateServer,
};

/// How long a test waits for something before it fails. Long, because it says nothing about speed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until the answer is yes; fails after [`PATIENCE`] with the name of what did not come.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain: {what}"));
}

/// The messages of an error and of its causes, as a user would be shown them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
