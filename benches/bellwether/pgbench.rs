//! pgbench: so many sessions that each change one row after the other.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::Outcome;
use super::arms::{Arm, ID_PREFIX};
use super::server::Server;

/// A progress report, as an application makes it.
fn script() -> String {
    format!(
        "\\set operation random(1, :operations)
UPDATE public.sync_operations SET processed_items = processed_items + 1, \
message = 'load ' || (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
WHERE id = ('{ID_PREFIX}' || lpad(:operation, 12, '0'))::uuid;\n"
    )
}

/// What a run is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) arm: Arm,
    pub(crate) clients: u32,
    pub(crate) seconds: u32,
    /// Microseconds that each commit is delayed by before it is flushed.
    pub(crate) commit_delay: u32,
    /// Changes a second of all sessions together, where they are held back.
    pub(crate) rate: Option<u32>,
    /// How many operations they change.
    pub(crate) operations: u32,
}

/// A run that goes on. It is killed with this value.
pub(crate) struct Run {
    process: Child,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) transactions: f64,
    /// Transactions a second, connecting not counted.
    pub(crate) tps: f64,
}

impl Plan {
    /// Starts the run.
    pub(crate) async fn start(&self, server: &Server) -> Outcome<Run> {
        let file = server.folder().join("progress.sql");
        if !file.exists() {
            std::fs::write(&file, script())?;
        }
        let mut settings = Vec::new();
        if self.commit_delay > 0 {
            settings.push(format!("-c commit_delay={}", self.commit_delay));
            settings.push("-c commit_siblings=0".to_owned());
        }
        if let Some(mode) = self.arm.doorbell {
            settings.push(format!("-c bellwether.doorbell={mode}"));
        }
        let mut command = Command::new(program(server).await?);
        command
            .args(["--no-vacuum", "--protocol=prepared"])
            .arg(format!("--client={}", self.clients))
            .arg(format!("--jobs={}", self.clients.min(2)))
            .arg(format!("--time={}", self.seconds))
            .arg(format!("--define=operations={}", self.operations))
            .arg(format!("--file={}", file.display()));
        if let Some(rate) = self.rate {
            command.arg(format!("--rate={rate}"));
        }
        let process = command
            .envs(server.environment(self.arm.database)?)
            .env("PGOPTIONS", settings.join(" "))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Run { process })
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, server: &Server) -> Outcome<Report> {
        self.start(server).await?.finish().await
    }
}

impl Run {
    /// Waits for the end.
    pub(crate) async fn finish(self) -> Outcome<Report> {
        let output = self.process.wait_with_output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let number = |before: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(before))?;
            line.split([' ', '/']).next()?.parse().ok()
        };
        let (transactions, tps, failed) = (
            number("number of transactions actually processed: "),
            number("tps = "),
            number("number of failed transactions: ").unwrap_or(0.0),
        );
        match (output.status.success(), transactions, tps) {
            (true, Some(transactions), Some(tps)) if failed == 0.0 => {
                Ok(Report { transactions, tps })
            }
            _ => {
                let errors = String::from_utf8_lossy(&output.stderr);
                Err(format!("pgbench failed ({}): {errors}{text}", output.status).into())
            }
        }
    }
}

/// The pgbench that belongs to the server, else the one of the path.
async fn program(server: &Server) -> Outcome<PathBuf> {
    let session = server.session("postgres").await?;
    let folder = "SELECT setting FROM pg_config WHERE name = 'BINDIR'";
    let folder: Option<String> = session.query_opt(folder, &[]).await?.map(|row| row.get(0));
    let beside = folder.map(|folder| PathBuf::from(folder).join("pgbench"));
    Ok(beside
        .filter(|program| program.is_file())
        .unwrap_or_else(|| PathBuf::from("pgbench")))
}
