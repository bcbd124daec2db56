//! How far apart are the clocks of the database and of this machine?

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::doctor::report::Finding;
use crate::doctor::session::{CheckError, Session};

const ASK: &str = "SELECT extract(epoch FROM clock_timestamp())::double precision";
const ROUNDS: usize = 5;
/// In seconds. Ages on screens are off by as much.
const MUCH: f64 = 1.0;

pub(in crate::doctor) async fn check(session: &Session) -> Result<Finding, CheckError> {
    // The quickest answer says most: the database's clock was read somewhere between question and answer.
    let mut best: Option<(Duration, f64)> = None;
    for _ in 0..ROUNDS {
        let (asked, here) = (Instant::now(), now());
        let there: f64 = session.row(ASK).await?.get(0);
        let round_trip = asked.elapsed();
        let ahead = there - (here + round_trip.as_secs_f64() / 2.0);
        if best.is_none_or(|(quickest, _)| round_trip < quickest) {
            best = Some((round_trip, ahead));
        }
    }
    let (round_trip, ahead) = best.unwrap_or_default();
    let doubt = round_trip.as_secs_f64() / 2.0;
    let found = format!(
        "the database's clock is {:.1} ms {} (give or take {:.1} ms)",
        ahead.abs() * 1000.0,
        if ahead < 0.0 { "behind" } else { "ahead" },
        doubt * 1000.0
    );
    let finding = if ahead.abs() - doubt > MUCH {
        Finding::warning(
            found,
            "set both clocks by NTP: delivery does not depend on them, but ages and times on screens do",
        )
    } else {
        Finding::ok(found)
    };
    Ok(finding
        .figure("ahead_ms", ahead * 1000.0)
        .figure("doubt_ms", doubt * 1000.0)
        .figure("round_trip_ms", round_trip.as_secs_f64() * 1000.0))
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
