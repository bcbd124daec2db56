//! What a relay does by the clock. Any number of relays may run: each job is done once, by whoever comes first.

mod manual;
mod presence;
mod retention;
mod snapshot;
mod stalled;

use std::time::Duration;

use deadpool_postgres::{Pool, PoolError};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub use self::manual::{SnapshotError, take_snapshot};
use crate::backoff::Backoff;
use crate::hub::Hub;
use crate::hub::presence::Presence;
use crate::postgres::reason::refused_write;

/// First wait after a job failed, and the bound that waits grow to.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const GREATEST_BACKOFF: Duration = Duration::from_secs(10);
/// How long one run of a job may take. Each takes small bites.
const JOB_LIMIT: Duration = Duration::from_secs(60);

/// When the jobs are done.
#[derive(Clone, Debug)]
pub struct SchedulerOptions {
    /// How often health is recorded; snapshots stand at multiples of it.
    pub snapshot_every: Duration,
    /// How far back ended operations count.
    pub health_window: Duration,
    /// After how long without a sign of life an operation is stalled.
    pub stalled_after: Duration,
    /// How often it is written down who is connected.
    pub presence_every: Duration,
    /// After how long without a sign of life a relay is dead.
    pub relay_dead_after: Duration,
    /// How long events are kept.
    pub keep_events: Duration,
    /// How many bytes of them are kept at most, with their indexes.
    pub keep_events_bytes: u64,
    /// How long health snapshots are kept.
    pub keep_snapshots: Duration,
    /// How long it is kept that a subscriber was connected.
    pub keep_connections: Duration,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            snapshot_every: Duration::from_secs(120),
            health_window: Duration::from_secs(15 * 60),
            stalled_after: Duration::from_secs(120),
            presence_every: Duration::from_secs(3),
            relay_dead_after: Duration::from_secs(30),
            keep_events: 7 * DAY,
            keep_events_bytes: 10 << 30,
            keep_snapshots: 90 * DAY,
            keep_connections: Duration::from_secs(60 * 60),
        }
    }
}

/// Why a job could not be done this time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error("no database session to be had")]
    Pool(#[from] PoolError),
    #[error("the database refused")]
    Database(#[from] tokio_postgres::Error),
    #[error("not done within {} s", .0.as_secs())]
    TooLong(Duration),
}

impl JobError {
    /// Says to the hub whether the database takes writes, as far as this error, or success, tells.
    fn tell(outcome: Result<(), &Self>, name: &'static str, hub: &Hub) {
        match outcome {
            Ok(()) => hub.set_impaired(name, None),
            Err(Self::Database(error)) => {
                if let Some(said) = refused_write(error) {
                    let reason = format!("the database takes no writes: {said}");
                    hub.set_impaired(name, Some(&reason));
                }
            }
            // Whether the database is there at all, the source knows.
            Err(_) => {}
        }
    }
}

/// Gives a job a bound: a session whose database has gone silent would keep it for ever.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, JobError>>,
) -> Result<T, JobError> {
    timeout(limit, work)
        .await
        .unwrap_or(Err(JobError::TooLong(limit)))
}

/// Starts the jobs; they end when the token is cancelled. The last thing that the relay writes is that its subscribers
/// are gone, so cancel `stop` once they are.
pub fn start(
    pool: &Pool,
    options: &SchedulerOptions,
    presence: Presence,
    hub: &Hub,
    relay: Uuid,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    tasks.spawn(repeat(
        "health snapshot",
        snapshot::Job::new(pool.clone(), options),
        hub.clone(),
        stop.clone(),
    ));
    tasks.spawn(repeat(
        "stalled operations",
        stalled::Job::new(pool.clone(), options),
        hub.clone(),
        stop.clone(),
    ));
    tasks.spawn(repeat(
        "retention",
        retention::Job::new(pool.clone(), options),
        hub.clone(),
        stop.clone(),
    ));
    tasks.spawn(presence::run(
        pool.clone(),
        options.clone(),
        presence,
        hub.clone(),
        relay,
        stop.clone(),
    ));
}

/// Something to be done again and again.
trait Job: Send {
    /// Does it, and says how long to wait before the next time.
    fn run(&mut self) -> impl Future<Output = Result<Duration, JobError>> + Send;
}

async fn repeat(name: &'static str, mut job: impl Job, hub: Hub, stop: CancellationToken) {
    let mut backoff = Backoff::new(FIRST_BACKOFF, GREATEST_BACKOFF);
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = within(JOB_LIMIT, job.run()) => outcome,
        };
        JobError::tell(outcome.as_ref().map(|_| ()), name, &hub);
        let wait = match outcome {
            Ok(wait) => {
                backoff.reset();
                wait
            }
            Err(error) => {
                let wait = backoff.next_delay();
                tracing::warn!(job = name, error = &error as &dyn std::error::Error, retry_in = ?wait, "job failed");
                wait
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// PostgreSQL's text for a duration.
fn interval(duration: Duration) -> String {
    format!("{} microseconds", duration.as_micros())
}
