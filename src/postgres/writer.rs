//! An application that reports its sync jobs, as any application would: one ordinary session and plain SQL.
//!
//! A [`Writer`] comes back by itself when the database has been away, and tries the same statement again. So each one
//! here can be repeated without doing its work twice: ids are made by the caller, counts are absolute, errors carry a
//! number of their own. What the server refuses for good is an error.

mod link;
mod report;

use std::{
    mem,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio_postgres::{
    Row,
    error::SqlState,
    types::{ToSql, Type},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::report::{Ending, ItemError, NewOperation, Progress, Status};

use self::link::Link;
use super::{config::DatabaseConfig, pool::ConnectError};

/// The longest delay before the first new try; it doubles from try to try.
pub const FIRST_RETRY_DELAY: Duration = Duration::from_millis(200);
/// No delay between two tries is longer than this.
pub const LONGEST_RETRY_DELAY: Duration = Duration::from_secs(5);
/// A session that has not answered a statement after this long counts as lost.
pub const STATEMENT_LIMIT: Duration = Duration::from_secs(15);

/// The program's name in `connection_status.user_agent`.
const USER_AGENT: &str = concat!("bellwether/", env!("CARGO_PKG_VERSION"));

/// A value of a statement, and what the server is to take it for.
type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Why a statement was given up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriterError {
    /// The writer was told to stop while it waited for the database.
    #[error("stopped while waiting for the database")]
    Stopped,
    /// Somebody has deleted the operation.
    #[error("there is no operation {0} any more")]
    Gone(Uuid),
    /// The very first session was refused, by something that waiting does not mend.
    #[error(transparent)]
    Connect(ConnectError),
    /// The tables or functions are not there, or not as this program knows them.
    #[error("can not {action}: this database lacks what `bellwether migrate` puts there")]
    NotMigrated {
        /// What was to be done.
        action: &'static str,
        /// The server's reason.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The server refuses what was asked.
    #[error("can not {action}")]
    Refused {
        /// What was to be done.
        action: &'static str,
        /// The server's reason.
        #[source]
        source: tokio_postgres::Error,
    },
}

/// One application's connection to the database.
///
/// Every method waits for the database for as long as it is away and the writer has not been told to stop. Its errors
/// are those of [`WriterError`].
pub struct Writer {
    link: Link,
}

impl Writer {
    /// A writer of that name: in `pg_stat_activity`, and as the client's id in `connection_status`. It connects when it
    /// is first used, and waits no more once `stop` is cancelled.
    pub fn new(database: DatabaseConfig, name: String, stop: CancellationToken) -> Self {
        Self {
            link: Link::new(database, name, stop),
        }
    }

    /// Lets it work although it was told to stop: for last words, which the caller limits in time.
    pub fn defy_stop(&mut self) {
        self.link.stop = CancellationToken::new();
    }

    /// Whether it has ever had a session.
    pub fn has_connected(&self) -> bool {
        self.link.has_connected
    }

    /// Says goodbye to the server.
    pub async fn close(self) {
        self.link.close().await;
    }

    /// Asks for a job; asking again for the same id changes nothing.
    pub async fn create(&mut self, operation: &NewOperation) -> Result<(), WriterError> {
        self.link
            .run(
                "create an operation",
                "INSERT INTO public.sync_operations
                     (id, operation_type, owner, source, triggered_by, message, metadata)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (id) DO NOTHING",
                &[
                    (&operation.id, Type::UUID),
                    (&operation.operation_type, Type::TEXT),
                    (&operation.owner, Type::TEXT),
                    (&operation.source, Type::TEXT),
                    (&operation.triggered_by, Type::TEXT),
                    (&operation.message, Type::TEXT),
                    (&operation.metadata, Type::JSONB),
                ],
            )
            .await
            .map(drop)
    }

    /// Moves a job from one status to another, and returns the status that it has now: not the one asked for where
    /// somebody was first.
    pub async fn shift(
        &mut self,
        id: Uuid,
        from: Status,
        to: Status,
        message: &str,
    ) -> Result<Status, WriterError> {
        self.status(
            id,
            "change an operation's status",
            "UPDATE public.sync_operations SET
                 message = CASE WHEN status = $2 THEN $4 ELSE message END,
                 status = CASE WHEN status = $2 THEN $3 ELSE status END
             WHERE id = $1
             RETURNING status",
            &[
                (&id, Type::UUID),
                (&from.name(), Type::TEXT),
                (&to.name(), Type::TEXT),
                (&message, Type::TEXT),
            ],
        )
        .await
    }

    /// Gives a sign of life, and returns the job's status.
    pub async fn touch(&mut self, id: Uuid) -> Result<Status, WriterError> {
        self.status(
            id,
            "give a sign of life",
            "SELECT status FROM public.update_sync_progress($1)",
            &[(&id, Type::UUID)],
        )
        .await
    }

    /// Reports how far a job is, and returns its status: somebody may have paused or cancelled it.
    pub async fn progress(&mut self, id: Uuid, report: &Progress) -> Result<Status, WriterError> {
        self.status(
            id,
            "report progress",
            "SELECT status FROM public.update_sync_progress($1,
                 processed_items => $2, total_items => $3, current_item => $4, message => $5,
                 failed_items => $6, inserted_items => $7, updated_items => $8, deleted_items => $9,
                 kept_items => $10, skipped_items => $11, entities_encountered => $12, counters => $13)",
            &[
                (&id, Type::UUID),
                (&report.processed, Type::INT8),
                (&report.total, Type::INT8),
                (&report.current_item, Type::TEXT),
                (&report.message, Type::TEXT),
                (&report.failed, Type::INT8),
                (&report.inserted, Type::INT8),
                (&report.updated, Type::INT8),
                (&report.deleted, Type::INT8),
                (&report.kept, Type::INT8),
                (&report.skipped, Type::INT8),
                (&report.entities, Type::JSONB),
                (&report.counters, Type::JSONB),
            ],
        )
        .await
    }

    /// Records what went wrong with one item; recording the same number again changes nothing.
    pub async fn error(&mut self, id: Uuid, error: &ItemError) -> Result<(), WriterError> {
        self.about(
            id,
            "record an item's error",
            "SELECT FROM public.record_sync_error($1, $2, item => $3, code => $4, details => $5)
             WHERE NOT EXISTS (SELECT FROM public.sync_operation_errors
                               WHERE operation_id = $1 AND details @> $5)",
            &[
                (&id, Type::UUID),
                (&error.message, Type::TEXT),
                (&error.item, Type::TEXT),
                (&error.code, Type::TEXT),
                (&json!({ "number": error.number }), Type::JSONB),
            ],
        )
        .await
        .map(drop)
    }

    /// Ends a job, unless somebody has done so already.
    pub async fn complete(&mut self, id: Uuid, ending: &Ending) -> Result<(), WriterError> {
        self.about(
            id,
            "end an operation",
            "SELECT FROM public.sync_operations AS o, public.complete_sync_operation(o.id,
                 status => $2, message => $3, error => $4, performance_data => $5)
             WHERE o.id = $1 AND o.status IN ('pending', 'in_progress', 'paused')",
            &[
                (&id, Type::UUID),
                (&ending.status.name(), Type::TEXT),
                (&ending.message, Type::TEXT),
                (&ending.error, Type::TEXT),
                (&ending.performance, Type::JSONB),
            ],
        )
        .await
        .map(drop)
    }

    /// Marks as failed what an earlier program left unfinished: the operations whose metadata contain `mark`. Returns
    /// how many there were.
    pub async fn fail_unfinished(&mut self, mark: &Value, why: &str) -> Result<usize, WriterError> {
        let ended = self
            .link
            .run(
                "end what was left unfinished",
                "UPDATE public.sync_operations SET status = 'failed', error = $2
                 WHERE status IN ('pending', 'in_progress', 'paused') AND metadata @> $1
                 RETURNING id",
                &[(mark, Type::JSONB), (&why, Type::TEXT)],
            )
            .await?;
        Ok(ended.len())
    }

    /// Reports this writer's own connection: the round trip that it measures now, and how many tries it took to come
    /// back since the last report.
    pub async fn report_connected(&mut self) -> Result<(), WriterError> {
        let latency = self.round_trip().await?.as_micros() as f64 / 1000.0;
        let tries = mem::take(&mut self.link.failed_tries);
        let tries = i32::try_from(tries).unwrap_or(i32::MAX);
        self.report("connected", Some(latency), tries).await
    }

    /// Reports that this writer is about to leave.
    pub async fn report_disconnected(&mut self) -> Result<(), WriterError> {
        self.report("disconnected", None, 0).await
    }

    async fn report(
        &mut self,
        status: &str,
        latency_ms: Option<f64>,
        reconnect_attempts: i32,
    ) -> Result<(), WriterError> {
        let name = self.link.name.clone();
        self.link
            .run(
                "report the connection",
                "SELECT FROM public.report_connection($1, status => $2, latency_ms => $3,
                     reconnect_attempts => $4, user_agent => $5)",
                &[
                    (&name, Type::TEXT),
                    (&status, Type::TEXT),
                    (&latency_ms, Type::FLOAT8),
                    (&reconnect_attempts, Type::INT4),
                    (&USER_AGENT, Type::TEXT),
                ],
            )
            .await
            .map(drop)
    }

    /// How long the database takes to answer the smallest question.
    async fn round_trip(&mut self) -> Result<Duration, WriterError> {
        const ACTION: &str = "measure the round trip";
        const QUESTION: &str = "SELECT 1";
        self.link.run(ACTION, QUESTION, &[]).await?; // connects, where that is still to be done
        let asked = Instant::now();
        self.link.run(ACTION, QUESTION, &[]).await?;
        Ok(asked.elapsed())
    }

    /// Runs a statement that returns the status of an operation.
    async fn status(
        &mut self,
        id: Uuid,
        action: &'static str,
        sql: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Status, WriterError> {
        let rows = self.about(id, action, sql, parameters).await?;
        let row = rows.first().ok_or(WriterError::Gone(id))?;
        row.try_get("status")
            .map_err(|source| WriterError::Refused { action, source })
    }

    /// Runs a statement whose refusal may mean that its operation has been deleted.
    async fn about(
        &mut self,
        id: Uuid,
        action: &'static str,
        sql: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, WriterError> {
        const GONE: [SqlState; 2] = [SqlState::NO_DATA_FOUND, SqlState::FOREIGN_KEY_VIOLATION];
        let result = self.link.run(action, sql, parameters).await;
        result.map_err(|error| match error {
            WriterError::Refused { source, .. }
                if source.code().is_some_and(|code| GONE.contains(code)) =>
            {
                WriterError::Gone(id)
            }
            other => other,
        })
    }
}
