//! A relay as users run it: the program itself, in a process of its own.

use std::net::{SocketAddr, TcpListener};

use tokio::process::{Child, Command};

use super::Outcome;

/// A running relay. It ends with this value.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Relay {
    /// Starts one with its defaults, except that it takes no health snapshots and calls nothing stalled: the rows of
    /// one round rest while others have theirs.
    pub(crate) fn start(url: &str) -> Outcome<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new(env!("CARGO_BIN_EXE_bellwether"))
            .args(["serve", "--log", "error", "--listen", &address.to_string()])
            .args(["--snapshot-every", "1d", "--stalled-after", "1d"])
            .env("DATABASE_URL", url)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { address, process })
    }

    /// Seconds of processor time that it has used, where the system says so.
    pub(crate) fn processor_seconds(&self) -> Option<f64> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.id()?)).ok()?;
        let mut nanoseconds = 0.0;
        for thread in threads {
            let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            nanoseconds += text.split(' ').next()?.parse::<f64>().ok()?;
        }
        Some(nanoseconds / 1e9)
    }
}
