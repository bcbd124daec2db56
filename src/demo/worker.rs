//! A job at work: mirrors one folder, and reports after each file.
//!
//! Nothing but rows ties it to anybody else: who wants to pause or cancel it updates its row, and it learns so from the
//! answer to its next report.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    task::{JoinError, spawn_blocking},
    time::sleep,
};

use super::{
    corner,
    desk::Request,
    job::Context,
    mirror::{self, Mirror, code_of},
    plan::{Job, Wish},
    tally::Tally,
    walk::{Found, Item, WalkLimits, walk},
};
use crate::postgres::writer::{Status, Writer, WriterError};

/// How often a job that is paused looks whether it may go on.
const PAUSE_POLL: Duration = Duration::from_millis(500);
/// How often a job reports its connection.
const CONNECTION_REPORT: Duration = Duration::from_secs(5);
/// Found items that wait for the job; a walk that is ahead of it by more waits.
const WALK_AHEAD: usize = 64;

/// How a job came to its end, other than by getting done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interruption {
    /// The demo stops.
    #[error("the demo was stopped")]
    Stopped,
    /// Somebody has ended the operation with SQL.
    #[error("ended by somebody else")]
    Ended,
    /// There is nothing to copy from.
    #[error("source {}: {error}", path.display())]
    Source { path: PathBuf, error: io::Error },
    /// The database refuses to be reported to.
    #[error(transparent)]
    Writer(#[from] WriterError),
    /// The work on a file broke off.
    #[error("the work broke off")]
    Broken(#[from] JoinError),
}

/// A job at work.
pub(super) struct Worker<'a> {
    job: &'a Job,
    context: &'a Context,
    writer: &'a mut Writer,
    /// What has been done so far.
    pub(super) tally: Tally,
    /// What its owner still has to do half-way.
    half_way: Option<Wish>,
    connection_reported: Option<Instant>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(job: &'a Job, context: &'a Context, writer: &'a mut Writer) -> Self {
        Self {
            job,
            context,
            writer,
            tally: Tally::default(),
            half_way: job.half_way,
            connection_reported: None,
        }
    }

    /// Does all of it; the job is then in progress still.
    pub(super) async fn work(&mut self) -> Result<(), Interruption> {
        self.report_connection().await?;
        let message = format!("mirroring {}", self.job.source.display());
        let status = self
            .writer
            .shift(self.job.id, Status::Pending, Status::InProgress, &message)
            .await?;
        self.obey(status).await?;
        let mirror = Arc::new(self.mirror()?);
        let seen = if self.job.counts_first {
            self.mirror_what_is_counted(&mirror).await?
        } else {
            self.mirror_in_one_pass(&mirror).await?
        };
        let processed = self.tally.processed();
        self.report(Some(processed), None).await?;
        tracing::debug!(
            job = self.job.name,
            items = processed,
            seen = seen.len(),
            "job done"
        );
        Ok(())
    }

    /// Finds everything first, so that the total is known from the first file on.
    async fn mirror_what_is_counted(
        &mut self,
        mirror: &Arc<Mirror>,
    ) -> Result<HashSet<PathBuf>, Interruption> {
        let mut walk = self.start_walk(mirror);
        let mut found = Vec::new();
        while let Some(next) = walk.recv().await {
            match next {
                Found::Folder => self.tally.enter_folder(),
                other => found.push(other),
            }
        }
        let seen = found.iter().filter_map(relative).collect();
        let strays = self.strays(mirror, &seen).await?;
        let total = i64::try_from(found.len() + strays.len()).unwrap_or(i64::MAX);
        self.report(Some(total), None).await?;
        if self.job.disturbed {
            self.disturb().await?;
        }
        for next in found {
            self.handle(next, mirror, Some(total)).await?;
        }
        self.remove(strays, mirror, Some(total)).await?;
        Ok(seen)
    }

    /// Works while it finds; how much there is turns out at the end.
    async fn mirror_in_one_pass(
        &mut self,
        mirror: &Arc<Mirror>,
    ) -> Result<HashSet<PathBuf>, Interruption> {
        let mut walk = self.start_walk(mirror);
        let mut seen = HashSet::new();
        while let Some(next) = walk.recv().await {
            seen.extend(relative(&next));
            self.handle(next, mirror, None).await?;
        }
        let strays = self.strays(mirror, &seen).await?;
        self.remove(strays, mirror, None).await?;
        Ok(seen)
    }

    fn mirror(&self) -> Result<Mirror, Interruption> {
        let scratch = &self.context.scratch;
        let source = self
            .job
            .source
            .canonicalize()
            .map_err(|error| self.no_source(error))?;
        std::fs::read_dir(&source).map_err(|error| self.no_source(error))?;
        Ok(Mirror {
            source,
            target: scratch.mirrors().join(&self.job.name),
            part: scratch.parts().join(&self.job.name),
            largest_file: self.context.limits.file_bytes,
            only_public: nix::unistd::geteuid().is_root(),
        })
    }

    fn no_source(&self, error: io::Error) -> Interruption {
        Interruption::Source {
            path: self.job.source.clone(),
            error,
        }
    }

    /// Walks through the source on a thread of its own, which ends when nobody listens any more.
    fn start_walk(&self, mirror: &Mirror) -> mpsc::Receiver<Found> {
        let (found, walk_of) = mpsc::channel(WALK_AHEAD);
        let limits = WalkLimits {
            most_files: self.context.limits.files,
            left_out: self.context.scratch.root().to_owned(),
            only_public: mirror.only_public,
        };
        let source = mirror.source.clone();
        spawn_blocking(move || match walk(&source, limits) {
            Ok(walk) => {
                for next in walk {
                    if found.blocking_send(next).is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                // The job has just looked at the folder: it is gone in this moment, and the channel may be too.
                let _ = found.blocking_send(Found::Unreadable {
                    path: source,
                    error,
                });
            }
        });
        walk_of
    }

    async fn handle(
        &mut self,
        found: Found,
        mirror: &Arc<Mirror>,
        total: Option<i64>,
    ) -> Result<(), Interruption> {
        let (shown, error) = match found {
            Found::Folder => {
                self.tally.enter_folder();
                return Ok(());
            }
            Found::Unreadable { path, error } => {
                let failed = self.tally.fail(&path, error.to_string(), code_of(&error));
                (path, Some(failed))
            }
            Found::Item(item) => {
                let budget = self
                    .context
                    .limits
                    .bytes
                    .saturating_sub(self.tally.copied());
                let Item { relative, .. } = item.clone();
                let mirror = mirror.clone();
                let outcome =
                    spawn_blocking(move || mirror::mirror(&mirror, &item, budget)).await?;
                let error = self.tally.count(&relative, outcome);
                (relative, error)
            }
        };
        if let Some(error) = error {
            self.writer.error(self.job.id, &error).await?;
        }
        self.report(total, Some(&shown)).await?;
        self.ask_owner_when_half_way(total).await;
        self.pace().await
    }

    /// What the mirror has and the source has not.
    async fn strays(
        &self,
        mirror: &Arc<Mirror>,
        seen: &HashSet<PathBuf>,
    ) -> Result<Vec<PathBuf>, Interruption> {
        let mirror = mirror.clone();
        let mut strays = spawn_blocking(move || mirror::contents(&mirror.target)).await?;
        strays.retain(|path| !seen.contains(path));
        Ok(strays)
    }

    async fn remove(
        &mut self,
        strays: Vec<PathBuf>,
        mirror: &Arc<Mirror>,
        total: Option<i64>,
    ) -> Result<(), Interruption> {
        for stray in strays {
            let (mirror, path) = (mirror.clone(), stray.clone());
            match spawn_blocking(move || mirror::remove(&mirror, &path)).await? {
                Ok(()) => self.tally.delete(),
                Err(error) => {
                    let error = self.tally.fail(&stray, error.to_string(), code_of(&error));
                    self.writer.error(self.job.id, &error).await?;
                }
            }
            self.report(total, Some(&stray)).await?;
            self.pace().await?;
        }
        Ok(())
    }

    async fn report(
        &mut self,
        total: Option<i64>,
        item: Option<&Path>,
    ) -> Result<(), Interruption> {
        if self
            .connection_reported
            .is_none_or(|reported| reported.elapsed() >= CONNECTION_REPORT)
        {
            self.report_connection().await?;
        }
        let progress = self.tally.progress(total, item);
        let status = self.writer.progress(self.job.id, &progress).await?;
        self.obey(status).await
    }

    async fn report_connection(&mut self) -> Result<(), Interruption> {
        self.connection_reported = Some(Instant::now());
        Ok(self.writer.report_connected().await?)
    }

    /// Does what somebody has written into the row: goes on, waits or ends.
    async fn obey(&mut self, mut status: Status) -> Result<(), Interruption> {
        while !status.has_ended() {
            if self.context.stop.is_cancelled() {
                return Err(Interruption::Stopped);
            }
            if status != Status::Paused {
                return Ok(());
            }
            self.wait(PAUSE_POLL).await?;
            status = self.writer.touch(self.job.id).await?;
        }
        Err(Interruption::Ended)
    }

    async fn pace(&self) -> Result<(), Interruption> {
        self.wait(self.context.pace).await
    }

    async fn wait(&self, time: Duration) -> Result<(), Interruption> {
        tokio::select! {
            () = self.context.stop.cancelled() => Err(Interruption::Stopped),
            () = sleep(time) => Ok(()),
        }
    }

    /// Lets the owner know, once. Where the desk is busy or gone, the owner missed the moment.
    async fn ask_owner_when_half_way(&mut self, total: Option<i64>) {
        if total.is_none_or(|total| self.tally.processed() * 2 < total) {
            return;
        }
        if let Some(wish) = self.half_way.take() {
            let request = Request {
                operation: self.job.id,
                wish,
            };
            let _ = self.context.desk.try_send(request);
        }
    }

    async fn disturb(&self) -> Result<(), Interruption> {
        let source = self.job.source.clone();
        if let Err(error) = spawn_blocking(move || corner::disturb(&source)).await? {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the source could not be disturbed"
            );
        }
        Ok(())
    }
}

fn relative(found: &Found) -> Option<PathBuf> {
    match found {
        Found::Item(item) => Some(item.relative.clone()),
        Found::Folder | Found::Unreadable { .. } => None,
    }
}
