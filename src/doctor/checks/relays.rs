//! Is a relay alive?

use std::time::Duration;

use serde_json::json;

use crate::doctor::checks::{seconds, some};
use crate::doctor::report::{Finding, Status};
use crate::doctor::session::{CheckError, Session};

const ASK: &str =
    "SELECT host, version, extract(epoch FROM clock_timestamp() - seen_at)::double precision,
        extract(epoch FROM clock_timestamp() - started_at)::double precision, id::text
    FROM bellwether.relay ORDER BY seen_at DESC";

pub(in crate::doctor) async fn check(
    session: &Session,
    dead_after: Duration,
) -> Result<Finding, CheckError> {
    let rows = session.rows(ASK).await?;
    let seen = |row: &tokio_postgres::Row| row.get::<_, f64>(2);
    let (alive, dead): (Vec<_>, Vec<_>) = rows
        .iter()
        .partition(|row| seen(row) <= dead_after.as_secs_f64());
    let names: Vec<String> = alive
        .iter()
        .map(|row| {
            format!(
                "{} (version {}, for {}, seen {} ago)",
                row.get::<_, String>(0),
                row.get::<_, String>(1),
                seconds(row.get(3)),
                seconds(seen(row))
            )
        })
        .collect();
    let mut finding = if alive.is_empty() {
        Finding::warning(
            "no relay is alive",
            "start one: `bellwether serve`; writes are recorded meanwhile, and nothing of them is lost within --keep-events",
        )
    } else {
        Finding::ok(format!("{} alive: {}", alive.len(), some(&names)))
    };
    if !alive.is_empty() && !dead.is_empty() {
        finding.add(
            Status::Warning,
            format!(
                "{} dead for {} and not cleared away",
                dead.len(),
                seconds(dead.first().map_or(0.0, |row| seen(row)))
            ),
            "a living relay clears a dead one away within seconds; look into its log for failed jobs",
        );
    }
    let mine = env!("CARGO_PKG_VERSION");
    if alive.iter().any(|row| row.get::<_, &str>(1) != mine) {
        finding.add(
            Status::Warning,
            format!("not all are of version {mine}, which is this one"),
            "bring them to one version; the newest migrates",
        );
    }
    let documents: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({"id": row.get::<_, String>(4), "host": row.get::<_, String>(0),
                "version": row.get::<_, String>(1), "seen_seconds_ago": seen(row),
                "running_seconds": row.get::<_, f64>(3), "alive": seen(row) <= dead_after.as_secs_f64()})
        })
        .collect();
    Ok(finding
        .figure("alive", alive.len())
        .figure("relays", documents))
}
