//! Are there prepared transactions that nobody comes back for? They survive restarts and hold up trimming and vacuum.

use std::time::Duration;

use crate::doctor::checks::seconds;
use crate::doctor::report::Finding;
use crate::doctor::session::{CheckError, Session};

const OLDEST: &str = "SELECT gid, owner::text, database::text, extract(epoch FROM clock_timestamp() - prepared)::double precision,
        count(*) OVER ()
    FROM pg_prepared_xacts ORDER BY prepared LIMIT 1";

pub(in crate::doctor) async fn check(
    session: &Session,
    longest: Duration,
) -> Result<Finding, CheckError> {
    let rows = session.rows(OLDEST).await?;
    let Some(row) = rows.first() else {
        return Ok(Finding::ok("none").figure("prepared", 0));
    };
    let text = |column: usize| row.get::<_, String>(column);
    let (gid, age, count): (String, f64, i64) = (row.get(0), row.get(3), row.get(4));
    let found = format!(
        "{count} prepared; the oldest for {}: '{gid}' of role {} in database {}",
        seconds(age),
        text(1),
        text(2)
    );
    let finding = if age > longest.as_secs_f64() {
        Finding::warning(
            found,
            format!(
                "COMMIT PREPARED '{}' or ROLLBACK PREPARED, in its database",
                gid.replace('\'', "''")
            ),
        )
    } else {
        Finding::ok(found)
    };
    Ok(finding
        .figure("prepared", count)
        .figure("gid", gid)
        .figure("age_seconds", age))
}
