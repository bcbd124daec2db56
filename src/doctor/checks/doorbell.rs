//! Does a bell that is rung in one session arrive in another, and how fast?

use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::doctor::hearing::Hearing;
use crate::doctor::report::Finding;
use crate::doctor::session::{CheckError, Session};
use crate::source::{CHANNEL, PROBE};

/// Beyond this it works, but nobody would call it live.
const SLOW: Duration = Duration::from_millis(500);
const ROUNDS: usize = 3;

pub(in crate::doctor) async fn check(
    session: &Session,
    limit: Duration,
) -> Result<Finding, CheckError> {
    let mut taken = Vec::new();
    for _ in 0..ROUNDS {
        // A relay that hears a probe which is not its own knows that nothing was written.
        let word = format!("{PROBE}{}", Uuid::new_v4());
        let mut hearing = Hearing::start(session.config(), CHANNEL, &word).await?;
        let began = Instant::now();
        let parameters: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] =
            &[(&CHANNEL, Type::TEXT), (&word, Type::TEXT)];
        session
            .client()?
            .query_typed("SELECT pg_notify($1, $2)::text", parameters)
            .await?;
        match timeout(limit / 2, hearing.word()).await {
            Ok(true) => taken.push(began.elapsed()),
            Ok(false) | Err(_) => return Ok(deaf(limit / 2)),
        }
    }
    let median = {
        taken.sort_unstable();
        taken[ROUNDS / 2]
    };
    let ms = median.as_secs_f64() * 1000.0;
    let found = format!("LISTEN hears a NOTIFY of another session after {ms:.1} ms");
    let finding = if median > SLOW {
        Finding::warning(
            found,
            "look for a slow commit (disk, synchronous standby) or a slow network between here and the database",
        )
    } else {
        Finding::ok(found)
    };
    Ok(finding.figure("round_trip_ms", ms))
}

fn deaf(limit: Duration) -> Finding {
    Finding::failure(
        format!(
            "LISTEN did not hear a NOTIFY of another session within {} s",
            limit.as_secs_f32()
        ),
        "connect straight to the primary, past any proxy; see notify queue",
    )
}
