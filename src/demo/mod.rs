//! `bellwether demo`: applications that do real work and report it, for people to watch.
//!
//! Several jobs mirror real folders of this machine into a scratch folder, over and over. To the database and the relay
//! they are strangers: each has an ordinary connection and plain SQL, nothing else. In reading order:
//!
//! 1. `plan`: which jobs a round has, and what is to happen to each.
//! 2. `desk`: the people who ask for jobs, and pause, resume and cancel them.
//! 3. `job`: one job, from its first statement to its last; `worker`: in between, reporting as `tally` counts.
//! 4. `walk`, `mirror`, `kinds`: the work itself.
//! 5. `scratch`, `corner`, `stir`: where it all happens, and how trouble gets there.
//!
//! Nothing outside the scratch folder is written to, no link is followed out of a source, and each job is bounded in
//! files and bytes. When the database goes away, every writer waits for it and carries on.

mod corner;
mod desk;
mod job;
mod kinds;
mod mirror;
mod plan;
mod scratch;
mod stir;
mod tally;
mod walk;
mod worker;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinError, JoinSet, spawn_blocking},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub use self::scratch::ScratchError;

use self::{
    desk::Desk,
    job::{Context, LAST_WORDS},
    plan::Job,
    scratch::Scratch,
};
use crate::postgres::{config::DatabaseConfig, writer::WriterError};

/// How long a job waits after each file, unless told otherwise.
pub const DEFAULT_PACE: Duration = Duration::from_millis(25);
/// How long the demo rests between two rounds, in times of the pace.
const REST_IN_PACES: u32 = 100;
/// How many jobs are at work at once; the others are pending.
const LANES: usize = 4;
/// Requests to the desk that may wait; an owner who finds more of them has missed the moment.
const DESK_QUEUE: usize = 16;
/// How much longer than its last words a job may take to end, before it is abandoned.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How much one job may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A job ends after so many files.
    pub files: usize,
    /// A job writes no more than so many bytes in one round, and its mirror never holds more than `files` files of at
    /// most `file_bytes` each.
    pub bytes: u64,
    /// Larger files are skipped, in bytes.
    pub file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files: 400,
            bytes: 32 << 20,
            file_bytes: 1 << 20,
        }
    }
}

/// What the demo is to do.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The folder to mirror into: a new or empty one, or one of an earlier demo.
    pub scratch: PathBuf,
    /// The folders to mirror; where empty, folders that most machines have and the repository one stands in.
    pub sources: Vec<PathBuf>,
    /// How long each job waits after each file, so that a person can watch.
    pub pace: Duration,
    /// How many rounds to go; `None` for ever.
    pub rounds: Option<u32>,
    /// How much one job may do in a round.
    pub limits: Limits,
}

impl DemoOptions {
    /// The usual demo, in this scratch folder.
    pub fn new(scratch: PathBuf) -> Self {
        Self {
            scratch,
            sources: Vec::new(),
            pace: DEFAULT_PACE,
            rounds: None,
            limits: Limits::default(),
        }
    }
}

/// Why the demo can not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The scratch folder can not be used.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// A source is not what it should be.
    #[error("source {}: expected {expected}", path.display())]
    Source {
        /// The source as given.
        path: PathBuf,
        /// What it should have been.
        expected: &'static str,
    },
    /// None was given, and none of the usual ones is there.
    #[error(
        "sources: expected at least one folder, since none of the usual ones exists on this machine"
    )]
    NoSources,
    /// The scratch folder can not be changed between two rounds.
    #[error("can not prepare the next round in the scratch folder")]
    Prepare(#[source] io::Error),
    /// The database refuses what an application must be able to do.
    #[error(transparent)]
    Database(#[from] WriterError),
    /// A part of the demo broke off.
    #[error("a part of the demo broke off")]
    Broken(#[from] JoinError),
}

/// Goes round and round until it is told to stop, or has done its rounds.
///
/// Told to stop, every job marks its operation cancelled within a few seconds. An operation that could not be ended,
/// because the process was killed or the database away, is marked failed by the next demo in the same scratch folder.
///
/// # Errors
/// At once where the scratch folder or a source can not be used or the database lets nobody in; later where the
/// database refuses an ordinary statement. A database that is merely away is waited for.
pub async fn run(
    database: DatabaseConfig,
    options: DemoOptions,
    stop: CancellationToken,
) -> Result<(), DemoError> {
    let path = options.scratch.clone();
    let scratch = Arc::new(spawn_blocking(move || Scratch::open(&path)).await??);
    let sources = plan::checked_sources(&options.sources, &scratch)?;
    let mut desk = Desk::new(database.clone(), scratch.id(), options.pace, stop.clone());
    let demo = Demo {
        database,
        options,
        scratch,
        sources,
        stop,
    };
    let mut jobs = Vec::new();
    let result = match desk.open().await {
        Ok(()) => demo.go_round(&mut desk, &mut jobs).await,
        Err(error) => Err(error.into()),
    };
    let unfinished: Vec<_> = jobs.iter().map(|job: &Job| job.id).collect();
    desk.close(&unfinished).await;
    match result {
        Err(DemoError::Database(WriterError::Stopped)) => Ok(()),
        other => other,
    }
}

struct Demo {
    database: DatabaseConfig,
    options: DemoOptions,
    scratch: Arc<Scratch>,
    sources: Vec<PathBuf>,
    stop: CancellationToken,
}

impl Demo {
    /// Leaves in `jobs` those of the round that was not finished.
    async fn go_round(&self, desk: &mut Desk, jobs: &mut Vec<Job>) -> Result<(), DemoError> {
        let rounds = self.options.rounds.unwrap_or(u32::MAX);
        for round in 0..rounds {
            self.prepare(round).await?;
            *jobs = plan::jobs(&self.sources, &self.scratch, round);
            desk.ask_for(jobs).await?;
            tracing::info!(round = round + 1, jobs = jobs.len(), "a round begins");
            self.run_round(desk, jobs).await?;
            if self.stop.is_cancelled() {
                return Ok(());
            }
            jobs.clear();
            if round + 1 < rounds {
                self.rest().await;
            }
        }
        Ok(())
    }

    async fn prepare(&self, round: u32) -> Result<(), DemoError> {
        let scratch = self.scratch.clone();
        let prepared = spawn_blocking(move || {
            stir::stir(&scratch.mirrors())?;
            corner::prepare(&scratch, round)
        });
        prepared.await?.map_err(DemoError::Prepare)
    }

    /// Runs all jobs of a round, so many at once; the first that the database refuses for good ends the others too.
    async fn run_round(&self, desk: &mut Desk, jobs: &[Job]) -> Result<(), DemoError> {
        let stop = self.stop.child_token();
        let (requests, wanted) = mpsc::channel(DESK_QUEUE);
        let lanes = Arc::new(Semaphore::new(LANES));
        let mut running = JoinSet::new();
        for job in jobs.iter().cloned() {
            let context = Context {
                database: self.database.clone(),
                scratch: self.scratch.clone(),
                limits: self.options.limits,
                pace: self.options.pace,
                stop: stop.clone(),
                desk: requests.clone(),
            };
            running.spawn(take_turn(lanes.clone(), job, context));
        }
        drop(requests);
        let (served, worked) = tokio::join!(desk.serve(wanted), wait_for(&mut running, &stop));
        worked?;
        match served {
            Err(WriterError::Stopped) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn rest(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(self.options.pace * REST_IN_PACES) => {}
        }
    }
}

/// Waits for a free lane, then runs the job. One that is stopped before its turn is left to the desk.
async fn take_turn(lanes: Arc<Semaphore>, job: Job, context: Context) -> Result<(), WriterError> {
    let lane = tokio::select! {
        biased;
        () = context.stop.cancelled() => return Ok(()),
        lane = lanes.acquire() => lane,
    };
    let _lane = lane.expect("the lanes are never closed");
    job::run(job, context).await
}

/// Waits until all jobs have ended; once they are told to stop, not longer than their last words take.
async fn wait_for(
    running: &mut JoinSet<Result<(), WriterError>>,
    stop: &CancellationToken,
) -> Result<(), DemoError> {
    let mut first_error = Ok(());
    loop {
        let next = tokio::select! {
            biased;
            next = running.join_next() => next,
            () = stop.cancelled() => break,
        };
        let Some(ended) = next else {
            return first_error;
        };
        first_error = first_error.and(
            ended
                .map_err(DemoError::from)
                .and_then(|result| Ok(result?)),
        );
        if first_error.is_err() {
            stop.cancel();
        }
    }
    let all = async { while running.join_next().await.is_some() {} };
    if timeout(LAST_WORDS + STOP_GRACE, all).await.is_err() {
        tracing::warn!(
            jobs = running.len(),
            "jobs that did not end in time were abandoned"
        );
        running.shutdown().await;
    }
    first_error
}
