//! `bellwether doctor`, the program itself: each fault is provoked for real, and its report read by a parser.

mod faults;
mod roles;
mod surroundings;
mod whole;

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// What the program has said.
pub(crate) struct Report {
    /// Its exit status.
    pub(crate) code: i32,
    /// The document.
    pub(crate) document: Value,
}

impl Report {
    /// One check.
    pub(crate) fn check(&self, id: &str) -> &Value {
        let checks = self.document["checks"].as_array().expect("a list");
        let check = checks.iter().find(|check| check["id"] == id);
        check.unwrap_or_else(|| panic!("no check {id} in {}", self.document))
    }

    /// How a check came out.
    pub(crate) fn status(&self, id: &str) -> &str {
        self.check(id)["status"].as_str().expect("a word")
    }

    /// What a check found, as people read it.
    pub(crate) fn found(&self, id: &str) -> &str {
        self.check(id)["found"].as_str().expect("a text")
    }

    /// What to do about it.
    pub(crate) fn advice(&self, id: &str) -> Vec<&str> {
        let advice = self.check(id)["advice"].as_array().expect("a list");
        advice.iter().filter_map(Value::as_str).collect()
    }

    /// The checks that are neither well nor skipped.
    pub(crate) fn troubles(&self) -> Vec<(&str, &str)> {
        let checks = self.document["checks"].as_array().expect("a list");
        checks
            .iter()
            .map(|check| {
                (
                    check["id"].as_str().expect("a name"),
                    check["status"].as_str().expect("a word"),
                )
            })
            .filter(|(_, status)| !["ok", "skipped"].contains(status))
            .collect()
    }
}

/// Runs the program as a script does, and reads its document.
pub(crate) async fn doctor(url: &str, arguments: &[&str]) -> Report {
    let (code, text) = run(url, &[arguments, &["--json"]].concat()).await;
    let document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    Report { code, document }
}

/// Runs the program, and returns its exit status and what it printed.
pub(crate) async fn run(url: &str, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bellwether"))
        .arg("doctor")
        .args(["--database-url", url])
        .args(arguments)
        .env_remove("BELLWETHER_URL")
        .env_remove("BELLWETHER_KEEP_EVENTS")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("text");
    (output.status.code().expect("an exit status"), text)
}
