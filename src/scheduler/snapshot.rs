//! Health, once a period: whoever of the relays comes first takes it.

use std::time::Duration;

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

use super::{Job as Repeated, JobError, SchedulerOptions, interval};

/// The period is the database's: $1 is its length in seconds, $2 the window. The wait until the next one comes back.
const TAKE: &str = "WITH present AS (SELECT extract(epoch FROM clock_timestamp())::double precision AS epoch),
        period AS (SELECT to_timestamp(floor(epoch / $1::double precision) * $1) AS start,
                          (floor(epoch / $1) + 1) * $1 - epoch AS remaining FROM present)
    SELECT period.remaining, (SELECT count(*) FROM public.create_sync_status_snapshot($2::text::interval, period.start))
    FROM period";

/// The job.
pub(super) struct Job {
    pool: Pool,
    period: f64,
    window: String,
}

impl Job {
    pub(super) fn new(pool: Pool, options: &SchedulerOptions) -> Self {
        Self {
            pool,
            period: options.snapshot_every.as_secs_f64(),
            window: interval(options.health_window),
        }
    }
}

impl Repeated for Job {
    async fn run(&mut self) -> Result<Duration, JobError> {
        let client = self.pool.get().await?;
        let row = client
            .query_typed_one(
                TAKE,
                &[(&self.period, Type::FLOAT8), (&self.window, Type::TEXT)],
            )
            .await?;
        if row.get::<_, i64>(1) > 0 {
            tracing::debug!("health snapshot taken");
        }
        Ok(Duration::from_secs_f64(row.get::<_, f64>(0).max(0.001)))
    }
}
