//! Operations without a sign of life.

use std::time::Duration;

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

use super::{Job as Repeated, JobError, SchedulerOptions, interval};

/// The job.
pub(super) struct Job {
    pool: Pool,
    stalled_after: String,
    every: Duration,
}

impl Job {
    pub(super) fn new(pool: Pool, options: &SchedulerOptions) -> Self {
        let every =
            (options.stalled_after / 8).clamp(Duration::from_millis(250), Duration::from_secs(15));
        Self {
            pool,
            stalled_after: interval(options.stalled_after),
            every,
        }
    }
}

impl Repeated for Job {
    async fn run(&mut self) -> Result<Duration, JobError> {
        let client = self.pool.get().await?;
        client
            .query_typed_one(
                "SELECT bellwether.mark_stalled($1::text::interval)",
                &[(&self.stalled_after, Type::TEXT)],
            )
            .await?;
        Ok(self.every)
    }
}
