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

/// Seconds before those that count: in its first report a session plans its statements (section *sessions*), and of a run
/// of a few seconds that would be a tenth. Who keeps his sessions pays it once.
pub(crate) const WARM_UP: u32 = 1;

/// What a run is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) arm: Arm,
    pub(crate) clients: u32,
    /// How long it goes on after [`WARM_UP`]: at least two, since the last of pgbench's seconds may end without a word of it.
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
    /// All transactions.
    pub(crate) transactions: f64,
    /// Transactions a second, connecting and [`WARM_UP`] not counted.
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
            .args(["--no-vacuum", "--protocol=prepared", "--progress=1"])
            .arg(format!("--client={}", self.clients))
            .arg(format!("--jobs={}", self.clients.min(2)))
            .arg(format!("--time={}", WARM_UP + self.seconds))
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
        let (transactions, failed) = (
            number("number of transactions actually processed: "),
            number("number of failed transactions: ").unwrap_or(0.0),
        );
        let errors = String::from_utf8_lossy(&output.stderr);
        let counted: Vec<f64> = errors
            .lines()
            .filter_map(tps_of_a_second)
            .skip(WARM_UP as usize)
            .collect();
        match transactions {
            Some(transactions)
                if output.status.success() && failed == 0.0 && !counted.is_empty() =>
            {
                let tps = counted.iter().sum::<f64>() / counted.len() as f64;
                Ok(Report { transactions, tps })
            }
            _ => Err(format!("pgbench failed ({}): {errors}{text}", output.status).into()),
        }
    }
}

/// From `progress: 2.0 s, 8123.4 tps, lat 3.9 ms stddev 2.0, 0 failed`.
fn tps_of_a_second(line: &str) -> Option<f64> {
    let (_, rest) = line.strip_prefix("progress: ")?.split_once(" s, ")?;
    rest.split_once(" tps")?.0.parse().ok()
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
