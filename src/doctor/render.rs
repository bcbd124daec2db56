//! A report for people: a line a check, and what to do below those that are not well.

use std::fmt::Write;

use super::report::{Report, Status};
use crate::tail::text::safe;

/// Longer texts are cut: names of sessions and tables come from others.
const LONGEST: usize = 2_000;
const RESET: &str = "\x1b[0m";

/// The report as text. `coloured` is for terminals.
pub fn text(report: &Report, coloured: bool) -> String {
    let mut text = format!(
        "bellwether {} examines {}",
        env!("CARGO_PKG_VERSION"),
        safe(&report.database, LONGEST)
    );
    if let Some(relay) = &report.relay {
        write!(text, " and {}", safe(relay, LONGEST)).expect(INFALLIBLE);
    }
    text.push_str("\n\n");
    let widest = report.checks.iter().map(|check| check.id.len()).max();
    let widest = widest.unwrap_or_default();
    for check in &report.checks {
        let status = paint(
            &format!("{:7}", check.status.name()),
            check.status,
            coloured,
        );
        let (name, found) = (check.id.replace('_', " "), safe(&check.found, LONGEST));
        writeln!(text, "{status}  {name:widest$}  {found}").expect(INFALLIBLE);
        for advice in &check.advice {
            let advice = safe(advice, LONGEST);
            writeln!(text, "{:7}  {:widest$}  → {advice}", "", "").expect(INFALLIBLE);
        }
    }
    let counts = report.counts;
    let verdict = if report.connected {
        report.status.name()
    } else {
        "the database cannot be reached"
    };
    writeln!(
        text,
        "\n{}: {} ok, {}, {}, {} skipped",
        paint(verdict, report.status, coloured),
        counts.ok,
        number(counts.warning, "warning"),
        number(counts.failure, "failure"),
        counts.skipped
    )
    .expect(INFALLIBLE);
    text
}

const INFALLIBLE: &str = "a String takes all that is written to it";

fn number(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn paint(text: &str, status: Status, coloured: bool) -> String {
    let colour = match status {
        Status::Ok => "\x1b[32m",
        Status::Skipped => "\x1b[2m",
        Status::Warning => "\x1b[33m",
        Status::Failure => "\x1b[31m",
    };
    if coloured {
        format!("{colour}{text}{RESET}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::doctor::report::Finding;

    fn report() -> Report {
        let mut report = Report::new("postgres://host/db".to_owned(), None);
        report.record("clock", Finding::ok("1 ms off"), Duration::ZERO);
        let finding = Finding::failure("\x1b[2Jgone", "mend it");
        report.record("server_version", finding, Duration::ZERO);
        report
    }

    #[test]
    fn each_check_has_an_aligned_line_and_advice_below_it() {
        let text = text(&report(), false);
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "ok       clock           1 ms off",
                "failure  server version  ␛[2Jgone",
                "                         → mend it",
                "",
                "failure: 1 ok, 0 warnings, 1 failure, 0 skipped",
            ]
        );
    }

    #[test]
    fn colours_are_ours_alone() {
        let coloured = text(&report(), true);
        assert!(coloured.contains("\x1b[31mfailure\x1b[0m"));
        assert!(!coloured.contains("\x1b[2J"), "what was found cannot paint");
        assert!(!text(&report(), false).contains('\x1b'));
    }
}
