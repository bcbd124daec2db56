//! The server's process: started, watched, signalled, and never left behind.

use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::sync::watch;

/// How long a dropped server may take to shut down before it is killed.
const DROP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// A running server. Dropping it shuts the server down, without a checkpoint, and waits for it.
///
/// A thread of its own starts the process and waits for it. It has to live as long as the process, because on Linux the
/// process is asked to end when *the thread that started it* ends, however that comes about.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    ended: watch::Receiver<Option<ExitStatus>>,
    keeper: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a command in a process group of its own, so that a Ctrl-C in the terminal leaves it to us to stop it.
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).process_group(0);
        let (started, wait_for_start) = mpsc::sync_channel(1);
        let (tell_end, ended) = watch::channel(None);
        let keeper =
            thread::Builder::new()
                .name("postgres".to_owned())
                .spawn(move || match command.spawn() {
                    Err(error) => drop(started.send(Err(error))),
                    Ok(mut child) => {
                        // A process id is positive and fits, whatever its type.
                        let pid = Pid::from_raw(child.id().cast_signed());
                        drop(started.send(Ok(pid)));
                        if let Ok(status) = child.wait() {
                            tell_end.send_replace(Some(status));
                        }
                    }
                })?;
        let pid = wait_for_start
            .recv()
            .map_err(|_| io::Error::other("the thread that starts it ended"))??;
        Ok(Self {
            pid,
            ended,
            keeper: Some(keeper),
        })
    }

    /// The process id.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, if it has.
    pub(super) fn status(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Completes when the process has ended and been collected.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.ended.clone();
        async move {
            // An error means that the thread is gone, and the process with it.
            let _ = ended.wait_for(Option::is_some).await;
        }
    }

    /// Sends a signal and waits for the end; tells whether it came in time.
    pub(super) async fn end_by(&self, signal: Signal, limit: Duration) -> bool {
        self.signal(signal);
        tokio::time::timeout(limit, self.ended()).await.is_ok()
    }

    /// Sends a signal, unless the process has ended.
    fn signal(&self, signal: Signal) {
        if self.status().is_none() {
            // The process can end in between; then there is nobody left to be told.
            let _ = kill(self.pid, signal);
        }
    }

    /// Kills the server and every process that it has forked, all at once, as a power cut does.
    ///
    /// A backend is no member of the server's process group, and would finish its statement if the server died first.
    pub(super) async fn kill_all(&self) {
        self.signal(Signal::SIGSTOP);
        while state_of(self.pid).is_some_and(|(state, _)| !matches!(state, 'T' | 'Z')) {
            tokio::time::sleep(POLL).await;
        }
        let children = children_of(self.pid);
        for &child in &children {
            let _ = kill(child, Signal::SIGKILL);
        }
        self.signal(Signal::SIGKILL);
        self.ended().await;
        while children.iter().any(|&child| is_alive(child)) {
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGQUIT);
        let deadline = Instant::now() + DROP_TIMEOUT;
        while self.status().is_none() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        self.signal(Signal::SIGKILL);
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// A command that is sent SIGINT, a fast shutdown, when we die, where the operating system can do that.
pub(super) fn tied_to_us(program: &Path) -> Command {
    let options = ["--pdeathsig", "INT", "--"];
    let can = Command::new("setpriv")
        .args(options)
        .arg("true")
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if can {
        let mut command = Command::new("setpriv");
        command.args(options).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Whether a process is alive and is a PostgreSQL server on this cluster.
pub(super) fn serves(pid: i32, cluster: &Path) -> bool {
    if !Path::new("/proc/self/stat").exists() {
        return kill(Pid::from_raw(pid), None).is_ok();
    }
    // A server stays in its data directory. Where we may not look, its name has to do.
    is_alive(Pid::from_raw(pid))
        && match fs::read_link(format!("/proc/{pid}/cwd")) {
            Ok(folder) => folder == cluster,
            Err(_) => fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.trim() == "postgres"),
        }
}

/// The state letter and the parent of a process, on Linux.
fn state_of(pid: Pid) -> Option<(char, Pid)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may have spaces and parentheses in it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some((state, Pid::from_raw(parent)))
}

/// A zombie is dead, only not yet collected.
fn is_alive(pid: Pid) -> bool {
    state_of(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

fn children_of(parent: Pid) -> Vec<Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
        .filter(|&pid| state_of(pid).is_some_and(|(_, of)| of == parent))
        .collect()
}
