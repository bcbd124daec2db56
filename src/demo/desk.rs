//! The people behind the jobs: they ask for them, and pause, resume and cancel them, all by SQL on a connection of their
//! own.

use std::{collections::VecDeque, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    job::LAST_WORDS,
    plan::{Job, Wish},
};
use crate::postgres::{
    config::DatabaseConfig,
    writer::{Ending, NewOperation, Status, Writer, WriterError},
};

/// How long a paused job is held up, in times of the pace.
const PAUSE_IN_PACES: u32 = 150;
/// What is written to operations that an earlier demo left behind.
const LEFT_BEHIND: &str = "interrupted: the demo that ran it is gone";

/// Something that an owner wants done to a running job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The job.
    pub(super) operation: Uuid,
    /// What to do.
    pub(super) wish: Wish,
}

/// Operations that are to go on, and when. There is at most one for each job of a round.
type Paused = VecDeque<(Instant, Uuid)>;

/// The connection over which people act.
pub(super) struct Desk {
    writer: Writer,
    /// In the metadata of each operation: whose they are.
    mark: Value,
    pause: Duration,
}

impl Desk {
    pub(super) fn new(
        database: DatabaseConfig,
        scratch: Uuid,
        pace: Duration,
        stop: CancellationToken,
    ) -> Self {
        Self {
            writer: Writer::new(database, "demo-desk".to_owned(), stop),
            mark: json!({ "demo": scratch }),
            pause: pace * PAUSE_IN_PACES,
        }
    }

    /// Reports the connection, and ends what an earlier demo in the same folder left unfinished. There can be no such
    /// demo any more: the folder is locked.
    pub(super) async fn open(&mut self) -> Result<(), WriterError> {
        self.writer.report_connected().await?;
        let ended = self.writer.fail_unfinished(&self.mark, LEFT_BEHIND).await?;
        if ended > 0 {
            tracing::info!(
                ended,
                "operations that an earlier demo left behind are marked failed"
            );
        }
        Ok(())
    }

    /// Asks for all jobs of a round: from now on they are pending.
    pub(super) async fn ask_for(&mut self, jobs: &[Job]) -> Result<(), WriterError> {
        self.writer.report_connected().await?;
        for job in jobs {
            let operation = NewOperation {
                id: job.id,
                operation_type: job.operation_type.to_owned(),
                owner: job.owner.to_owned(),
                source: job.source.to_string_lossy().into_owned(),
                triggered_by: job.triggered_by.to_owned(),
                message: "waiting for its turn".to_owned(),
                metadata: self.mark.clone(),
            };
            self.writer.create(&operation).await?;
        }
        Ok(())
    }

    /// Does what owners want until all jobs are done and nobody can want anything any more.
    pub(super) async fn serve(
        &mut self,
        mut requests: mpsc::Receiver<Request>,
    ) -> Result<(), WriterError> {
        let mut paused = VecDeque::new(); // all for the same time, so the first is to be resumed first
        loop {
            let first = paused.front().map(|(until, _)| *until);
            let done = tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.fulfil(request, &mut paused).await,
                    None => return Ok(()),
                },
                () = sleep_until(first.unwrap_or_else(Instant::now)), if first.is_some() => {
                    self.resume(&mut paused).await
                }
            };
            match done {
                Err(WriterError::Gone(id)) => tracing::info!(%id, "somebody deleted the operation"),
                other => other?,
            }
        }
    }

    async fn fulfil(&mut self, request: Request, paused: &mut Paused) -> Result<(), WriterError> {
        let Request { operation, wish } = request;
        let (to, message) = match wish {
            Wish::Cancel => (Status::Cancelled, "cancelled half-way by its owner"),
            Wish::Pause => (Status::Paused, "paused by its owner"),
        };
        let status = self
            .writer
            .shift(operation, Status::InProgress, to, message)
            .await?;
        if status == Status::Paused {
            paused.push_back((Instant::now() + self.pause, operation));
        }
        Ok(())
    }

    async fn resume(&mut self, paused: &mut Paused) -> Result<(), WriterError> {
        if let Some((_, operation)) = paused.pop_front() {
            let message = "resumed by its owner";
            self.writer
                .shift(operation, Status::Paused, Status::InProgress, message)
                .await?;
        }
        Ok(())
    }

    /// Cancels what did not get its turn, and leaves; within [`LAST_WORDS`].
    pub(super) async fn close(mut self, unfinished: &[Uuid]) {
        if !self.writer.has_connected() {
            return; // so nothing was ever asked for
        }
        self.writer.defy_stop();
        let cancelled = Ending {
            status: Status::Cancelled,
            message: "the demo was stopped".to_owned(),
            error: None,
            performance: json!({}),
        };
        let last_words = async {
            for id in unfinished {
                self.writer.complete(*id, &cancelled).await?;
            }
            self.writer.report_disconnected().await
        };
        match timeout(LAST_WORDS, last_words).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the desk's last words were refused"
                );
            }
            Err(_) => tracing::warn!(
                operations = unfinished.len(),
                "the database did not hear that the demo has ended; the next demo in this folder will tell it"
            ),
        }
        self.writer.close().await;
    }
}
