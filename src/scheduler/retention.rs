//! What is too old goes: of the event log a whole slot at a time, of the tables a bounded number of rows. Then the index of
//! the events that are kept is summarised, which spares writers from doing it.

use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

use super::{Job as Repeated, JobError, SchedulerOptions, interval};

/// How often to look for old rows.
const EVERY: Duration = Duration::from_secs(60);
/// A breath between two bites, so that clean-up never takes the database for itself.
const BETWEEN_BITES: Duration = Duration::from_millis(100);

const OLD_SNAPSHOTS: &str = "DELETE FROM public.sync_status_snapshots WHERE id IN (
    SELECT id FROM public.sync_status_snapshots WHERE taken_at < clock_timestamp() - $1::text::interval
    ORDER BY taken_at LIMIT 1000)";

const OLD_CONNECTIONS: &str = "DELETE FROM public.connection_status WHERE client_id IN (
    SELECT client_id FROM public.connection_status
    WHERE source = 'relay' AND status = 'disconnected' AND disconnected_at < clock_timestamp() - $1::text::interval
    LIMIT 1000)";

/// The job.
pub(super) struct Job {
    pool: Pool,
    events: String,
    events_bytes: i64,
    snapshots: String,
    connections: String,
    /// When the index was last brought up to date.
    summarized: Option<Instant>,
}

impl Job {
    pub(super) fn new(pool: Pool, options: &SchedulerOptions) -> Self {
        Self {
            pool,
            events: interval(options.keep_events),
            events_bytes: i64::try_from(options.keep_events_bytes).unwrap_or(i64::MAX),
            snapshots: interval(options.keep_snapshots),
            connections: interval(options.keep_connections),
            summarized: None,
        }
    }
}

impl Repeated for Job {
    async fn run(&mut self) -> Result<Duration, JobError> {
        let client = self.pool.get().await?;
        let trimmed = client
            .query_typed_one(
                "SELECT bellwether.trim_log($1::text::interval, $2)",
                &[(&self.events, Type::TEXT), (&self.events_bytes, Type::INT8)],
            )
            .await?
            .get::<_, i64>(0);
        if trimmed > 0 {
            tracing::info!(bytes = trimmed, "old events deleted");
        }
        let snapshots = client
            .execute_typed(OLD_SNAPSHOTS, &[(&self.snapshots, Type::TEXT)])
            .await?;
        let connections = client
            .execute_typed(OLD_CONNECTIONS, &[(&self.connections, Type::TEXT)])
            .await?;
        if self.summarized.is_none_or(|then| then.elapsed() >= EVERY) {
            client
                .execute_typed("SELECT bellwether.summarize_event_index()", &[])
                .await?;
            self.summarized = Some(Instant::now());
        }
        if snapshots + connections == 0 {
            return Ok(EVERY);
        }
        tracing::debug!(snapshots, connections, "old rows deleted");
        Ok(BETWEEN_BITES)
    }
}
