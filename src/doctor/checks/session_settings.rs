//! Do settings of the role or the database cut off what the relay does?

use crate::doctor::report::{Finding, Status};
use crate::doctor::session::{CheckError, Session};

/// What sessions of this role begin with, in milliseconds; 0 is no limit. `transaction_timeout` is there from 17 on.
const ASK: &str = "SELECT name, reset_val::bigint FROM pg_settings
    WHERE name IN ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout', 'lock_timeout')";

/// Reading the state at the start, or a large change, may take as long.
const LEAST: i64 = 60_000;

pub(in crate::doctor) async fn check(session: &Session) -> Result<Finding, CheckError> {
    let rows = session.rows(ASK).await?;
    let limits = rows
        .iter()
        .map(|row| (row.get::<_, String>(0), row.get::<_, i64>(1)));
    let mut finding = Finding::ok("");
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (name, limit) in limits {
        finding = finding.figure(&format!("{name}_ms"), limit);
        if limit > 0 {
            found.push(format!("{name} {limit} ms"));
        }
        if limit > 0 && limit < LEAST && name != "lock_timeout" {
            problems.push(name);
        }
    }
    if problems.is_empty() {
        let found = if found.is_empty() {
            "no time limit on statements".to_owned()
        } else {
            found.join(", ")
        };
        return Ok(finding.named(found));
    }
    let mut finding = finding.named(found.join(", "));
    finding.add(
        Status::Warning,
        "too short for reading a large change or the state at the start",
        format!(
            "for the relay's role: ALTER ROLE … SET {} = 0",
            problems.join(" = 0; ALTER ROLE … SET ")
        ),
    );
    Ok(finding)
}
