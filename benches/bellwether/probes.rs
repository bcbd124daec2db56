//! Writers whose events' ages are measured: a few a second, evenly spaced, whatever else goes on.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use uuid::Uuid;

use super::Outcome;
use super::arms::{OPERATIONS, PROBED, operation_id};
use super::receiver::Receiver;
use super::server::Server;

/// The statement carries its own instant, so the age holds the triggers and the commit too.
pub(crate) const PROBE: &str =
    "UPDATE public.sync_operations SET processed_items = processed_items + 1,
        message = 'probe ' || (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    WHERE id = $1";
/// How long the last probes may be on their way.
const STRAGGLERS: Duration = Duration::from_secs(5);
/// How long a receiver may need to catch up with a load.
const CATCHING_UP: Duration = Duration::from_secs(120);

/// The operations that probes are written to, as a filter's list.
pub(crate) fn probed_operations() -> String {
    let ids: Vec<_> = (1..=PROBED).map(|n| operation_id(OPERATIONS + n)).collect();
    ids.join(",")
}

/// Writes `rate` probes a second for so long and returns how long each statement took, with its commit, in milliseconds.
/// Several sessions take turns, since one alone could not keep the rate where a commit has to wait.
pub(crate) async fn write(
    server: &Server,
    database: &str,
    rate: u32,
    seconds: u32,
) -> Outcome<Vec<f64>> {
    let apart = Duration::from_secs_f64(f64::from(PROBED) / f64::from(rate));
    let begin = Instant::now() + Duration::from_millis(200);
    let end = begin + Duration::from_secs(seconds.into());
    let mut writers = JoinSet::new();
    for number in 1..=PROBED {
        let session = server.session(database).await?;
        let id: Uuid = operation_id(OPERATIONS + number).parse()?;
        writers.spawn(async move {
            let statement = session.prepare(PROBE).await?;
            let mut clock = interval_at(begin + apart * number / PROBED, apart);
            clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut taken = Vec::new();
            while clock.tick().await < end {
                let began = Instant::now();
                session.execute(&statement, &[&id]).await?;
                taken.push(began.elapsed().as_secs_f64() * 1e3);
            }
            Ok::<_, tokio_postgres::Error>(taken)
        });
    }
    let mut taken = Vec::new();
    while let Some(outcome) = writers.join_next().await {
        taken.extend(outcome??);
    }
    Ok(taken)
}

/// Waits until so many probes have come; some may not come one by one where a subscription gets the latest only.
pub(crate) async fn await_stragglers(receiver: &Receiver, written: usize) {
    let deadline = Instant::now() + STRAGGLERS;
    while receiver.probes() < written && Instant::now() < deadline {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the receiver has everything that was written so far.
pub(crate) async fn settle(server: &Server, database: &str, receiver: &Receiver) -> Outcome<()> {
    let session = server.session(database).await?;
    let id: Uuid = operation_id(OPERATIONS + 1).parse()?;
    let before = receiver.probes();
    session.execute(PROBE, &[&id]).await?;
    let caught_up = async {
        while receiver.probes() == before {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(CATCHING_UP, caught_up)
        .await
        .map_err(|_| format!("the receiver of {database} does not catch up"))?;
    Ok(())
}
