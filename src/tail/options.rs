//! What a person may ask of `tail`.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use uuid::Uuid;

use super::TailError;

/// Where the relay is, unless told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// What to do with changes that come faster than they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// See the newest state of each row; states in between may be left out.
    Latest,
    /// See every change.
    Every,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Every => "every",
        }
    }
}

/// What to follow, and how to show it.
///
/// Each list is a filter: within one list any value will do, and every list that is not empty must be met.
#[derive(Clone, Debug)]
pub struct TailOptions {
    /// The relay: `http://host:port`, also with a path that a proxy gives it.
    pub url: String,
    /// `operations`, `errors`, `connections`, `health`; empty for what the relay thinks fit.
    pub topics: Vec<String>,
    /// Ids of operations.
    pub operation_id: Vec<String>,
    /// Whose operations.
    pub owner: Vec<String>,
    /// What kind of operations.
    pub operation_type: Vec<String>,
    /// Of operations and connections.
    pub status: Vec<String>,
    /// Of operations and connections.
    pub source: Vec<String>,
    /// `None` for what the relay does by itself.
    pub mode: Option<Mode>,
    /// The cursor to resume from.
    pub since: Option<String>,
    /// One JSON line an event instead of bars and lines for people.
    pub json: bool,
    /// Whether to begin with the present state. `None`: yes for people, no for JSON.
    pub snapshot: Option<bool>,
    /// Show the present state and end.
    pub once: bool,
    /// End when all of `operation_id` have ended.
    pub until_done: bool,
}

impl Default for TailOptions {
    /// Everything that a relay on this machine has, as JSON where standard output is no terminal.
    fn default() -> Self {
        Self {
            url: DEFAULT_URL.to_owned(),
            topics: Vec::new(),
            operation_id: Vec::new(),
            owner: Vec::new(),
            operation_type: Vec::new(),
            status: Vec::new(),
            source: Vec::new(),
            mode: None,
            since: None,
            json: !io::stdout().is_terminal(),
            snapshot: None,
            once: false,
            until_done: false,
        }
    }
}

/// Refuses options that make no sense, or not together.
pub(super) fn check(options: &TailOptions) -> Result<(), TailError> {
    let wrong = |option, expected| Err(TailError::Option { option, expected });
    if options.until_done && options.operation_id.is_empty() {
        return wrong("until-done", "at least one operation id to wait for");
    }
    let lacks_operations =
        !options.topics.is_empty() && !options.topics.iter().any(|topic| topic == "operations");
    if options.until_done && lacks_operations {
        return wrong("until-done", "operations to be among the topics");
    }
    if options.until_done && !options.status.is_empty() {
        return wrong(
            "until-done",
            "no filter by status, which would hide the end",
        );
    }
    if options.until_done && options.since.is_some() {
        return wrong(
            "until-done",
            "no cursor, after which the end may never come",
        );
    }
    if options.once && options.since.is_some() {
        return wrong("once", "no cursor: it shows the present state");
    }
    if options.once && options.snapshot == Some(false) {
        return wrong(
            "once",
            "the snapshot not to be left out: it is all there is to show",
        );
    }
    if options.since.as_deref() == Some("") {
        return wrong("since", "a cursor, as events carry it");
    }
    if options.topics.iter().any(|topic| topic == "none") {
        return wrong("topics", "operations, errors, connections or health");
    }
    Ok(())
}

/// Ids as the database writes them.
pub(super) fn ids(given: &[String]) -> Result<Vec<String>, TailError> {
    let id = |id: &String| {
        Uuid::parse_str(id)
            .map(|id| id.to_string())
            .map_err(|_| TailError::Option {
                option: "operation-id",
                expected: "UUIDs",
            })
    };
    given.iter().map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_contradict_each_other_are_refused_by_name() {
        let base = || TailOptions {
            json: true,
            ..TailOptions::default()
        };
        let id = vec!["5a".to_owned()];
        let cases = [
            (
                "until-done",
                TailOptions {
                    until_done: true,
                    ..base()
                },
            ),
            (
                "until-done",
                TailOptions {
                    until_done: true,
                    operation_id: id.clone(),
                    status: vec!["in_progress".to_owned()],
                    ..base()
                },
            ),
            (
                "until-done",
                TailOptions {
                    until_done: true,
                    operation_id: id.clone(),
                    topics: vec!["errors".to_owned()],
                    ..base()
                },
            ),
            (
                "once",
                TailOptions {
                    once: true,
                    since: Some("c".to_owned()),
                    ..base()
                },
            ),
            (
                "once",
                TailOptions {
                    once: true,
                    snapshot: Some(false),
                    ..base()
                },
            ),
            (
                "until-done",
                TailOptions {
                    until_done: true,
                    operation_id: id.clone(),
                    since: Some("c".to_owned()),
                    ..base()
                },
            ),
            (
                "since",
                TailOptions {
                    since: Some(String::new()),
                    ..base()
                },
            ),
            (
                "topics",
                TailOptions {
                    topics: vec!["none".to_owned()],
                    ..base()
                },
            ),
        ];
        for (name, options) in cases {
            let error = check(&options).expect_err("refused").to_string();
            assert!(error.starts_with(&format!("{name}: expected")), "{error}");
        }
        let sensible = TailOptions {
            until_done: true,
            operation_id: id,
            ..base()
        };
        assert!(check(&sensible).is_ok());
    }
}
