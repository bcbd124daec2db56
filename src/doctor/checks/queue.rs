//! Is there room for notifications? A full queue would make commits that ring fail; ours stop ringing at a half.

use crate::doctor::report::{Finding, Status};
use crate::doctor::session::{CheckError, Session};

const USAGE: &str = "SELECT pg_notification_queue_usage()";

/// The queue is the cluster's. A session that listens and is inside a transaction keeps what it has not taken yet;
/// which sessions listen is not to be seen, so the oldest transactions are named.
const SUSPECTS: &str = "SELECT pid, coalesce(nullif(application_name, ''), 'unnamed'), coalesce(datname::text, ''),
        extract(epoch FROM clock_timestamp() - xact_start)::double precision
    FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 1";

/// Of the queue.
const MUCH: f64 = 0.1;
/// From here on no writer of ours rings.
const TOO_MUCH: f64 = 0.5;

pub(in crate::doctor) async fn check(session: &Session) -> Result<Finding, CheckError> {
    let usage: f64 = session.row(USAGE).await?.get(0);
    let found = format!("{:.1} % of the notification queue is used", usage * 100.0);
    let mut finding = Finding::ok(found);
    if usage >= MUCH {
        let suspect = session.rows(SUSPECTS).await?;
        let whom = suspect.first().map_or_else(
            || "the session that listens inside a long transaction".to_owned(),
            |row| {
                format!(
                    "probably process {} ({} in database {}), in a transaction for {}; SELECT pg_terminate_backend({0}) ends it",
                    row.get::<_, i32>(0),
                    row.get::<_, String>(1),
                    row.get::<_, String>(2),
                    super::seconds(row.get(3))
                )
            },
        );
        let (status, what) = if usage >= TOO_MUCH {
            (
                Status::Failure,
                "writers do not ring any more: events arrive with the safety tick only",
            )
        } else {
            (Status::Warning, "somebody does not take his notifications")
        };
        finding.add(status, what, format!("end {whom}"));
    }
    Ok(finding.figure("usage", usage))
}
