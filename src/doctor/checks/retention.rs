//! Does what is too old go?

use std::time::Duration;

use crate::doctor::checks::seconds;
use crate::doctor::report::Finding;
use crate::doctor::session::{CheckError, Session};

/// The oldest is at the head of the log, give or take the transactions that were open beside it.
const ASK: &str = "SELECT (SELECT extract(epoch FROM clock_timestamp() - e.at)::double precision FROM bellwether.event e ORDER BY e.xid LIMIT 1),
    (SELECT trimmed_through::text FROM bellwether.log), pg_snapshot_xmin(pg_current_snapshot())::text";

/// A slot of the log goes as a whole, once its newest event is old: this much of the time is on top.
const FURTHER: u32 = 3;
/// And the relays look every minute.
const SLACK: Duration = Duration::from_secs(15 * 60);

pub(in crate::doctor) async fn check(
    session: &Session,
    keep: Duration,
) -> Result<Finding, CheckError> {
    let row = session.row(ASK).await?;
    let oldest: Option<f64> = row.get(0);
    let trimmed: Option<String> = row.get(1);
    let kept = seconds(keep.as_secs_f64());
    let finding = match oldest {
        None => Finding::ok("the log is empty"),
        Some(age) if age > (keep + keep / FURTHER + SLACK).as_secs_f64() => Finding::warning(
            format!(
                "the oldest event is {} old, though events are kept for {kept} and a third more",
                seconds(age)
            ),
            "let a relay run (it trims every minute); if one does: see writing transactions and prepared transactions, which it never trims past, its log for failed jobs, and its --keep-events",
        ),
        Some(age) => Finding::ok(format!(
            "the oldest event is {} old; events are kept for {kept}",
            seconds(age)
        )),
    };
    Ok(finding
        .figure("oldest_event_seconds", oldest)
        .figure("keep_events_seconds", keep.as_secs_f64())
        .figure("trimmed_through_xid", trimmed)
        .figure("oldest_open_xid", row.get::<_, String>(2)))
}
