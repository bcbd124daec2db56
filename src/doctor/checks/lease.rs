//! Have relays promised to look often, so that writers do not ring?

use crate::doctor::checks::seconds;
use crate::doctor::report::Finding;
use crate::doctor::session::{CheckError, Session};

/// How far ahead the lease is, in milliseconds by the database's clock; null before the first one.
const ASK: &str = "SELECT pg_sequence_last_value('bellwether.lease'::regclass)
    - (date_part('epoch', clock_timestamp()) * 1000)::bigint";

/// Further ahead, a lease counts as run out; see `bellwether.ring()`.
const GREATEST: i64 = 1023;

pub(in crate::doctor) async fn check(session: &Session) -> Result<Finding, CheckError> {
    let ahead: Option<i64> = session.row(ASK).await?.get(0);
    let of = |ms: i64| seconds(ms as f64 / 1000.0);
    let (finding, state) = match ahead {
        None => (
            Finding::ok("no relay was ever busy; every writer rings"),
            "never",
        ),
        Some(ms) if ms > GREATEST => (
            Finding::warning(
                format!(
                    "the lease is {} ahead and counts as run out; every writer rings",
                    of(ms)
                ),
                "the database's clock was set back, or somebody has set bellwether.lease; the next busy relay sets it right",
            ),
            "far_ahead",
        ),
        Some(ms) if ms >= 0 => (
            Finding::ok(format!(
                "runs for another {ms} ms: relays look by themselves and writers do not ring"
            )),
            "running",
        ),
        Some(ms) => (
            Finding::ok(format!("ran out {} ago; every writer rings", of(-ms))),
            "run_out",
        ),
    };
    Ok(finding.figure("state", state).figure("ahead_ms", ahead))
}
