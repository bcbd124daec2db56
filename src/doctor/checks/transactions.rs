//! Who has been writing for long? Such a transaction delays nobody's events but its own; but until it ends the log is
//! not trimmed past it, cursors carry it, and a relay that was busy goes on looking.

use std::time::Duration;

use crate::doctor::checks::seconds;
use crate::doctor::report::{Finding, Status};
use crate::doctor::session::{CheckError, Session};

/// Those of other databases too: snapshots count them.
const OLDEST: &str = "SELECT a.pid, coalesce(nullif(a.application_name, ''), 'unnamed'), coalesce(a.usename::text, ''), coalesce(a.datname::text, ''),
        extract(epoch FROM clock_timestamp() - a.xact_start)::double precision,
        to_char(a.query_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), coalesce(a.state, ''), a.backend_xid::text,
        count(*) OVER ()
    FROM pg_stat_activity a
    WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid() ORDER BY a.xact_start, age(a.backend_xid) DESC LIMIT 1";

const SEES_ALL: &str = "SELECT pg_has_role('pg_read_all_stats', 'USAGE')";

pub(in crate::doctor) async fn check(
    session: &Session,
    longest: Duration,
) -> Result<Finding, CheckError> {
    let sees_all: bool = session.row(SEES_ALL).await?.get(0);
    let rows = session.rows(OLDEST).await?;
    let mut finding = match rows.first() {
        None => Finding::ok("no transaction is writing").figure("writing", 0),
        Some(row) => {
            let (pid, age): (i32, Option<f64>) = (row.get(0), row.get(4));
            let text = |column: usize| row.get::<_, Option<String>>(column).unwrap_or_default();
            let found = format!(
                "{} writing; the oldest for {}: process {pid} ({}, role {}, database {}), {}, its last statement began at {}",
                row.get::<_, i64>(8),
                age.map_or_else(|| "a time that is hidden".to_owned(), seconds),
                text(1),
                text(2),
                text(3),
                text(6),
                text(5)
            );
            let finding = if age.is_some_and(|age| age > longest.as_secs_f64()) {
                Finding::warning(
                    found,
                    format!(
                        "let it commit; SELECT pg_terminate_backend({pid}) ends it. Until then the log cannot be trimmed past it"
                    ),
                )
            } else {
                Finding::ok(found)
            };
            finding
                .figure("writing", row.get::<_, i64>(8))
                .figure("pid", pid)
                .figure("age_seconds", age)
                .figure("application_name", text(1))
                .figure("role", text(2))
                .figure("database", text(3))
                .figure("state", text(6))
                .figure("query_start", text(5))
                .figure("xid", text(7))
        }
    };
    if !sees_all {
        finding.add(
            Status::Warning,
            "only sessions of this role can be seen",
            "GRANT pg_monitor to the role, to see all of them",
        );
    }
    Ok(finding.figure("sees_all_sessions", sees_all))
}
