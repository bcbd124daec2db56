//! One job, from its first statement to its last words, on a database connection of its own; [`super::worker`] does the
//! work in between.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Limits,
    desk::Request,
    plan::Job,
    scratch::Scratch,
    worker::{Interruption, Worker},
};
use crate::postgres::{
    config::DatabaseConfig,
    writer::{Ending, Status, Writer, WriterError},
};

/// How long a job that is stopped may take to say so.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);

/// What all jobs share.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) database: DatabaseConfig,
    pub(super) scratch: Arc<Scratch>,
    pub(super) limits: Limits,
    /// How long a job waits after each file.
    pub(super) pace: Duration,
    pub(super) stop: CancellationToken,
    /// Asks the owner to do what it wants to do half-way.
    pub(super) desk: mpsc::Sender<Request>,
}

/// Runs one job to its end, whichever that is; a failed or cancelled job is no error.
///
/// # Errors
/// Where the database refuses what an application must be able to do.
pub(super) async fn run(job: Job, context: Context) -> Result<(), WriterError> {
    let name = format!("demo-{}", job.name);
    let mut writer = Writer::new(context.database.clone(), name, context.stop.clone());
    let began = Instant::now();
    let mut worker = Worker::new(&job, &context, &mut writer);
    let result = worker.work().await;
    let tally = worker.tally;
    let summary = tally.summary();
    let performance = json!({
        "seconds": began.elapsed().as_secs_f64(),
        "bytes_copied": tally.copied(),
    });
    let ending = |status, error| Ending {
        status,
        message: match status {
            Status::Cancelled => format!("the demo was stopped; {summary}"),
            _ => summary.clone(),
        },
        error,
        performance: performance.clone(),
    };
    let said = match result {
        Ok(()) => {
            writer
                .complete(job.id, &ending(Status::Completed, None))
                .await
        }
        Err(Interruption::Ended) => Ok(()),
        Err(Interruption::Stopped | Interruption::Writer(WriterError::Stopped)) => {
            Err(WriterError::Stopped)
        }
        Err(Interruption::Writer(error)) => Err(error),
        Err(failure @ (Interruption::Source { .. } | Interruption::Broken(_))) => {
            let failed = ending(Status::Failed, Some(failure.to_string()));
            writer.complete(job.id, &failed).await
        }
    };
    leave(writer, &job, said, ending).await
}

/// The last words of a job, which must not take long: the connection is reported closed, and what was not ended is.
async fn leave(
    mut writer: Writer,
    job: &Job,
    said: Result<(), WriterError>,
    ending: impl Fn(Status, Option<String>) -> Ending,
) -> Result<(), WriterError> {
    writer.defy_stop();
    let last_words = async {
        match &said {
            Err(WriterError::Stopped) => {
                writer
                    .complete(job.id, &ending(Status::Cancelled, None))
                    .await?;
            }
            Err(error @ WriterError::Refused { .. }) => {
                let failed = ending(Status::Failed, Some(error.to_string()));
                writer.complete(job.id, &failed).await?;
            }
            _ => {}
        }
        writer.report_disconnected().await
    };
    match timeout(LAST_WORDS, last_words).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            job = job.name,
            error = &error as &dyn std::error::Error,
            "last words refused"
        ),
        Err(_) => tracing::warn!(
            job = job.name,
            "the database did not hear the job's last words"
        ),
    }
    writer.close().await;
    match said {
        Err(WriterError::Gone(id)) => {
            tracing::info!(job = job.name, %id, "somebody deleted the operation; the job ends");
            Ok(())
        }
        Err(WriterError::Stopped) => Ok(()),
        other => other,
    }
}
