//! Runs a command beside a PostgreSQL server of its own: `test-server -- cargo nextest run`.
//!
//! The command finds the server in `BELLWETHER_TEST_DATABASE_URL`. Its exit code is passed on. The server and its data
//! are gone afterwards, whatever becomes of the command.

use std::{
    env,
    error::Error,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
};

use bellwether::postgres::EmbeddedPostgres;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

#[path = "../tests/it/support/options.rs"]
mod options;

const URL_VARIABLE: &str = "BELLWETHER_TEST_DATABASE_URL";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("test-server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1).peekable();
    arguments.next_if(|argument| argument == "--");
    let program = arguments
        .next()
        .ok_or("expected a command: test-server -- COMMAND [ARGUMENT]...")?;
    let folder = tempfile::tempdir()?;
    let mut server = EmbeddedPostgres::start(folder.path(), options::server_options()).await?;
    let child = Command::new(program)
        .args(arguments)
        .env(URL_VARIABLE, server.url())
        .kill_on_drop(true)
        .spawn()?;
    let status = wait(child).await?;
    server.stop().await;
    Ok(code_of(status))
}

/// Waits for the command. A Ctrl-C reaches it without us, as it is of our process group; other requests are passed on.
async fn wait(mut child: Child) -> std::io::Result<ExitStatus> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {
                if let Some(pid) = child.id() {
                    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)?;
                }
            }
        }
    }
}

/// As a shell has it: 128 and the signal's number for a command that a signal ended.
fn code_of(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
