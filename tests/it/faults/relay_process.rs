//! `bellwether serve` as a process of its own, to be killed and started again.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::eventually;

/// A relay process. It is killed with this value.
pub(crate) struct RelayProcess {
    /// Where it serves, also after it was started again.
    pub(crate) address: SocketAddr,
    url: String,
    arguments: Vec<String>,
    child: Child,
}

impl RelayProcess {
    /// Starts a relay on this database, and waits until it says that it is live.
    pub(crate) async fn start(url: &str, arguments: &[&str]) -> Self {
        let relay = Self::launch(url, arguments);
        relay.until("live").await;
        relay
    }

    /// Starts a relay without waiting for anything.
    pub(crate) fn launch(url: &str, arguments: &[&str]) -> Self {
        Self::launch_into(Stdio::inherit(), url, arguments)
    }

    fn launch_into(log: Stdio, url: &str, arguments: &[&str]) -> Self {
        // Free a moment ago; another process would have to draw the same number out of thousands.
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let child = spawn_into(log, address, url, &arguments);
        Self {
            address,
            url: url.to_owned(),
            arguments,
            child,
        }
    }

    /// Starts a relay that writes its log into this file.
    pub(crate) fn launch_with_log(url: &str, arguments: &[&str], log: &Path) -> Self {
        let log = File::create(log).expect("a log");
        Self::launch_into(log.into(), url, arguments)
    }

    /// Ends it as an operator does, and waits until it has ended.
    pub(crate) async fn stop(&mut self) {
        let process = i32::try_from(self.child.id()).expect("a process id");
        let process = nix::unistd::Pid::from_raw(process);
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).expect("told");
        eventually("the relay has stopped", async || {
            self.child.try_wait().expect("asked").is_some()
        })
        .await;
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("an end");
    }

    /// Starts it again at the same address.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn_into(Stdio::inherit(), self.address, &self.url, &self.arguments);
    }

    /// Starts it again at the same address, on another database.
    pub(crate) fn start_again_on(&mut self, url: &str) {
        url.clone_into(&mut self.url);
        self.start_again();
    }

    /// What `/readyz` says: the HTTP status and the status of the stream. Nothing while nobody answers.
    pub(crate) async fn ready(&self) -> Option<(u16, Value)> {
        let answer = reqwest::get(format!("http://{}/readyz", self.address))
            .await
            .ok()?;
        Some((answer.status().as_u16(), answer.json().await.ok()?))
    }

    /// Waits for a status and returns the reason that it gives.
    pub(crate) async fn until(&self, status: &str) -> String {
        self.until_reason(status, "").await
    }

    /// Waits for a status with a reason that contains this text, and returns the reason.
    pub(crate) async fn until_reason(&self, status: &str, part: &str) -> String {
        let mut reason = String::new();
        eventually(&format!("status {status} {part:?}"), async || {
            let Some((_, said)) = self.ready().await else {
                return false;
            };
            reason = said["reason"].as_str().unwrap_or_default().to_owned();
            said["status"] == status && reason.contains(part)
        })
        .await;
        reason
    }
}

/// Runs a relay that is not to start, until it ends; its exit status and what it said.
pub(crate) fn run_to_its_end(url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(url)
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments)
        .output()
        .expect("a relay process");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command.args(["serve", "--database-url", url]);
    command
}

fn spawn_into(log: Stdio, address: SocketAddr, url: &str, arguments: &[String]) -> Child {
    command(url)
        .args(["--listen", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("a relay process")
}
