//! What the first report of a session costs: it plans the statements of the triggers. Who connects for each report pays that
//! each time; a session that stays pays once.

use std::time::Instant;

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Outcome;
use super::arms::{Arm, NAIVE, OPERATIONS, OURS, PLAIN, PROBED, Stage, operation_id};
use super::numbers::Percentiles;
use super::probes::PROBE;
use super::settings::Settings;
use super::table::{Table, cell};

const ARMS: [Arm; 3] = [PLAIN, OURS, NAIVE];
/// Sessions of one round of one arm.
const SESSIONS: u32 = 40;
/// Which report of a session counts as a later one. By then its plans are those that stay.
const LATER: u32 = 10;

/// Milliseconds of one session.
struct Session {
    first: f64,
    later: f64,
}

/// Measures and prints.
pub(crate) async fn measure(stage: &Stage, settings: &Settings) -> Outcome<()> {
    let mut sessions: [Vec<Session>; ARMS.len()] = Default::default();
    for _ in 0..settings.rounds {
        for (arm, sessions) in ARMS.iter().zip(&mut sessions) {
            for number in 0..SESSIONS {
                sessions.push(session(stage, *arm, number).await?);
            }
        }
    }
    let of = |sessions: &[Session], pick: fn(&Session) -> f64| {
        Percentiles::of(sessions.iter().map(pick).collect())
    };
    let mut table = Table::new(&[
        "triggers",
        "first report p50 ms",
        "first report p99 ms",
        "a later one p50 ms",
        "first, above no triggers",
    ]);
    let plain = of(&sessions[0], |session| session.first);
    for (arm, sessions) in ARMS.iter().zip(&sessions) {
        let first = of(sessions, |session| session.first);
        let above = first.zip(plain).map(|(own, plain)| own.p50 - plain.p50);
        table.row(vec![
            arm.name.to_owned(),
            cell(first.map(|first| first.p50), 2),
            cell(first.map(|first| first.p99), 2),
            cell(
                of(sessions, |session| session.later).map(|later| later.p50),
                2,
            ),
            cell(above.filter(|_| *arm != PLAIN), 2),
        ]);
    }
    table.print("The first report of a session");
    Ok(())
}

async fn session(stage: &Stage, arm: Arm, number: u32) -> Outcome<Session> {
    let session = stage.server.session(arm.database).await?;
    let id: Uuid = operation_id(OPERATIONS + 1 + number % PROBED).parse()?;
    let mut times = Vec::new();
    for _ in 0..LATER {
        let began = Instant::now();
        session.execute_typed(PROBE, &[(&id, Type::UUID)]).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Session {
        first: times[0],
        later: times[times.len() - 1],
    })
}
