//! The data folder: the cluster, its password, its log, and the lock that keeps it to one bellwether.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{EmbeddedError, account::Account, process};

/// How long to wait for a server that is shutting down because the bellwether before us died.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(10);
const PREDECESSOR_POLL: Duration = Duration::from_millis(100);
const LOCK: &str = "bellwether.lock";
/// What a new file system has in its root.
const LOST_AND_FOUND: &str = "lost+found";
/// A log longer than this is put aside when the server starts, in bytes.
const LONGEST_LOG: u64 = 8 * 1024 * 1024;
/// How much of the log an error shows, in lines.
const LOG_TAIL: usize = 20;

/// A data folder that no other bellwether uses while this value lives.
#[derive(Debug)]
pub(super) struct DataFolder {
    root: PathBuf,
    /// Locked by the kernel until it is closed, so a lock never outlives its process.
    _lock: File,
}

impl DataFolder {
    /// Opens a folder of ours, or makes one of an empty or absent one.
    pub(super) fn open(path: &Path) -> Result<Self, EmbeddedError> {
        fs::create_dir_all(path).map_err(EmbeddedError::file("create", path))?;
        let root = path
            .canonicalize()
            .map_err(EmbeddedError::file("open", path))?;
        if !root.join(LOCK).exists() && !is_empty(&root)? {
            return Err(EmbeddedError::NotOurs { folder: root });
        }
        fs::set_permissions(&root, Permissions::from_mode(0o700))
            .map_err(EmbeddedError::file("set the rights of", &root))?;
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(root.join(LOCK))
            .map_err(EmbeddedError::file("open", root.join(LOCK)))?;
        let folder = Self { root, _lock: lock };
        match folder._lock.try_lock() {
            Ok(()) => Ok(folder),
            Err(TryLockError::WouldBlock) => Err(folder.already_running()),
            Err(TryLockError::Error(source)) => {
                Err(EmbeddedError::file("lock", folder.root.join(LOCK))(source))
            }
        }
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What PostgreSQL calls its data directory.
    pub(super) fn cluster(&self) -> PathBuf {
        self.root.join("cluster")
    }

    /// The major version of the data, if there is any.
    pub(super) fn major(&self) -> Result<Option<u32>, EmbeddedError> {
        let path = self.cluster().join("PG_VERSION");
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(EmbeddedError::file("read", &path))?;
        match text.trim().parse() {
            Ok(major) => Ok(Some(major)),
            Err(_) => Err(EmbeddedError::NotOurs {
                folder: self.cluster(),
            }),
        }
    }

    /// The file with the superuser's password.
    pub(super) fn password_file(&self) -> PathBuf {
        self.root.join("password")
    }

    /// The superuser's password.
    pub(super) fn password(&self) -> Result<String, EmbeddedError> {
        let path = self.password_file();
        let text = fs::read_to_string(&path).map_err(EmbeddedError::file("read", path))?;
        Ok(text.trim().to_owned())
    }

    /// Makes a new random password, for a new cluster.
    pub(super) fn make_password(&self) -> Result<(), EmbeddedError> {
        let password = format!("{:032x}", rand::random::<u128>());
        let path = self.password_file();
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| writeln!(file, "{password}"))
            .map_err(EmbeddedError::file("write", path))
    }

    /// The server's log.
    pub(super) fn log_file(&self) -> PathBuf {
        self.root.join("postgres.log")
    }

    /// The file with the port of the last start.
    pub(super) fn port_file(&self) -> PathBuf {
        self.root.join("port")
    }

    /// The port of the last start, so that it can be had again.
    pub(super) fn last_port(&self) -> Option<u16> {
        fs::read_to_string(self.port_file())
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Keeps the port for the next start.
    pub(super) fn keep_port(&self, port: u16) -> Result<(), EmbeddedError> {
        let path = self.port_file();
        fs::write(&path, format!("{port}\n")).map_err(EmbeddedError::file("write", path))
    }

    /// Opens the server's log for appending, and tells its length.
    pub(super) fn open_log(&self) -> Result<(File, u64), EmbeddedError> {
        let path = self.log_file();
        if fs::metadata(&path).is_ok_and(|log| log.len() > LONGEST_LOG) {
            let old = self.root.join("postgres.log.old");
            fs::rename(&path, &old).map_err(EmbeddedError::file("rename", &path))?;
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(EmbeddedError::file("open", &path))?;
        let length = log
            .metadata()
            .map_err(EmbeddedError::file("read", &path))?
            .len();
        Ok((log, length))
    }

    /// The last lines of the log, none of them before byte `from`.
    pub(super) fn log_tail(&self, from: u64) -> String {
        let mut bytes = Vec::new();
        let read = File::open(self.log_file()).and_then(|mut log| {
            log.seek(SeekFrom::Start(from))?;
            log.read_to_end(&mut bytes)
        });
        if let Err(error) = read {
            return format!("(no log: {error})");
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
    }

    /// The process that serves the data, if one really does.
    ///
    /// PostgreSQL takes any process with the number in `postmaster.pid` for alive, a zombie too, and so would refuse to
    /// start for ever after a crash in a container where nobody collects orphans.
    pub(super) fn running(&self) -> Option<i32> {
        let text = fs::read_to_string(self.cluster().join("postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        process::serves(pid, &self.cluster()).then_some(pid)
    }

    /// Removes what a dead server has left. Its shared memory is checked by PostgreSQL itself.
    pub(super) fn clear_stale_pid(&self) -> Result<(), EmbeddedError> {
        let path = self.cluster().join("postmaster.pid");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(EmbeddedError::file("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Waits for the server of a bellwether that was killed: it is shutting down. One that does not end is somebody's.
    pub(super) async fn wait_for_predecessor(&self) -> Result<(), EmbeddedError> {
        let deadline = Instant::now() + PREDECESSOR_TIMEOUT;
        while self.running().is_some() {
            if Instant::now() > deadline {
                return Err(self.already_running());
            }
            sleep(PREDECESSOR_POLL).await;
        }
        Ok(())
    }

    /// The error for a folder that is in use.
    pub(super) fn already_running(&self) -> EmbeddedError {
        EmbeddedError::AlreadyRunning {
            folder: self.root.clone(),
            pid: self.running(),
        }
    }
}

/// A folder for the data where nobody has named one: `.bellwether` here, or, where we are root and the account that
/// PostgreSQL runs as cannot come here, `/var/lib/bellwether`.
pub fn default_data_dir() -> PathBuf {
    let here = PathBuf::from(".bellwether");
    let reachable = std::path::absolute(&here)
        .is_ok_and(|path| Account::choose(&path).is_ok_and(|account| account.reach(&path).is_ok()));
    if reachable {
        here
    } else {
        PathBuf::from("/var/lib/bellwether")
    }
}

fn is_empty(folder: &Path) -> Result<bool, EmbeddedError> {
    let mut entries = folder
        .read_dir()
        .map_err(EmbeddedError::file("read", folder))?;
    Ok(entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == LOST_AND_FOUND)))
}
