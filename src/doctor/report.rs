//! What the checks have found: the document that `--json` prints, and the exit status.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// The version of the document. It grows when a field changes its meaning or goes; a new field or check is no reason.
const FORMAT: u32 = 1;

/// How a check came out. A later one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Not asked, because of what another check has found.
    Skipped,
    /// It works, but something costs promptness, room or safety.
    Warning,
    /// Something does not work, or could not be checked.
    Failure,
}

impl Status {
    /// The word for it, as in the document.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// What one check has found, while it is being put together.
#[derive(Debug)]
pub(super) struct Finding {
    status: Status,
    found: String,
    advice: Vec<String>,
    figures: Map<String, Value>,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(found: impl Into<String>) -> Self {
        Self {
            status: Status::Ok,
            found: found.into(),
            advice: Vec::new(),
            figures: Map::new(),
        }
    }

    /// It works, but.
    pub(super) fn warning(found: impl Into<String>, advice: impl Into<String>) -> Self {
        let mut finding = Self::ok(found);
        finding.status = Status::Warning;
        finding.advice.push(advice.into());
        finding
    }

    /// It does not work.
    pub(super) fn failure(found: impl Into<String>, advice: impl Into<String>) -> Self {
        let mut finding = Self::warning(found, advice);
        finding.status = Status::Failure;
        finding
    }

    /// It was not asked.
    pub(super) fn skipped(why: impl Into<String>) -> Self {
        let mut finding = Self::ok(why);
        finding.status = Status::Skipped;
        finding
    }

    /// Adds a problem to what was found.
    pub(super) fn add(&mut self, status: Status, found: impl Display, advice: impl Into<String>) {
        self.status = self.status.max(status);
        self.found = format!("{}; {found}", self.found);
        let advice = advice.into();
        if !self.advice.contains(&advice) {
            self.advice.push(advice);
        }
    }

    /// With other words for what was found.
    pub(super) fn named(mut self, found: impl Into<String>) -> Self {
        self.found = found.into();
        self
    }

    /// Adds a figure for programs; its unit is in its name.
    pub(super) fn figure(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.figures.insert(name.to_owned(), value.into());
        self
    }
}

/// One check of a report.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// Its name, which stays the same from version to version.
    pub id: &'static str,
    /// How it came out.
    pub status: Status,
    /// What was found, for people.
    pub found: String,
    /// What to do about it, for people; empty where nothing is to be done.
    pub advice: Vec<String>,
    /// What was measured, by name; which figures there are depends on the check and on what it could find out.
    pub figures: Map<String, Value>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// How many checks came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// As they should be.
    pub ok: usize,
    /// Not asked.
    pub skipped: usize,
    /// It works, but.
    pub warning: usize,
    /// Does not work, or could not be checked.
    pub failure: usize,
}

/// Everything that was found. Its JSON is what `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    format: u32,
    bellwether: &'static str,
    /// When the examination began, by this machine's clock.
    pub at: String,
    /// Where the database is, without the password.
    pub database: String,
    /// Where the relay is, if it was examined.
    pub relay: Option<String>,
    /// The worst of the checks; skipped ones do not count.
    pub status: Status,
    /// Whether there was a session to check with.
    pub connected: bool,
    /// How many checks came out how.
    pub counts: Counts,
    /// The checks, in the order in which they were made.
    pub checks: Vec<Checked>,
}

impl Report {
    /// Nothing yet.
    pub(super) fn new(database: String, relay: Option<String>) -> Self {
        Self {
            format: FORMAT,
            bellwether: env!("CARGO_PKG_VERSION"),
            at: Timestamp::now().to_string(),
            database,
            relay,
            status: Status::Ok,
            connected: true,
            counts: Counts::default(),
            checks: Vec::new(),
        }
    }

    /// Takes in what a check has found.
    pub(super) fn record(&mut self, id: &'static str, finding: Finding, took: Duration) {
        let count = match finding.status {
            Status::Ok => &mut self.counts.ok,
            Status::Skipped => &mut self.counts.skipped,
            Status::Warning => &mut self.counts.warning,
            Status::Failure => &mut self.counts.failure,
        };
        *count += 1;
        if finding.status != Status::Skipped {
            self.status = self.status.max(finding.status);
        }
        self.checks.push(Checked {
            id,
            status: finding.status,
            found: finding.found,
            advice: finding.advice,
            figures: finding.figures,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
    }

    /// 0 where all is well (warnings are, unless `strict`), 1 where something is not, 2 where there was no session to
    /// check with.
    pub fn exit_code(&self, strict: bool) -> ExitCode {
        ExitCode::from(match self.status {
            _ if !self.connected => 2,
            Status::Failure => 1,
            Status::Warning if strict => 1,
            _ => 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        let mut report = Report::new("postgres://host/db".to_owned(), None);
        for finding in findings {
            report.record("check", finding, Duration::ZERO);
        }
        report
    }

    #[test]
    fn the_worst_check_decides_and_one_that_was_not_asked_does_not_count() {
        let all = report(vec![
            Finding::ok(""),
            Finding::skipped(""),
            Finding::warning("", ""),
        ]);
        assert_eq!(all.status, Status::Warning);
        assert_eq!(all.exit_code(false), ExitCode::from(0));
        assert_eq!(all.exit_code(true), ExitCode::from(1));
        assert_eq!(report(vec![Finding::skipped("")]).status, Status::Ok);
    }

    #[test]
    fn a_failure_fails_and_so_does_a_database_that_cannot_be_reached_in_a_way_of_its_own() {
        let mut all = report(vec![Finding::failure("", "")]);
        assert_eq!(all.exit_code(false), ExitCode::from(1));
        all.connected = false;
        assert_eq!(all.exit_code(false), ExitCode::from(2));
    }

    #[test]
    fn what_is_added_makes_a_finding_worse_and_never_better() {
        let mut finding = Finding::failure("one", "do this");
        finding.add(Status::Warning, "two", "do that");
        assert_eq!(finding.status, Status::Failure);
        assert_eq!(
            (finding.found.as_str(), finding.advice.len()),
            ("one; two", 2)
        );
    }
}
