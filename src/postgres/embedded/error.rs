//! Why there is no embedded server.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

use crate::postgres::{pool::ConnectError, schema::OLDEST_SERVER};

/// What kept the embedded PostgreSQL from running. The messages are meant for whoever typed the command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No usable server programs on this machine.
    #[error(
        "PostgreSQL {OLDEST_SERVER} or newer is not installed; install it with `{}`, or name the folder with `postgres` and `initdb` in {}",
        install_command(),
        super::BINARIES_VARIABLE
    )]
    NotInstalled,
    /// The environment names a folder without server programs.
    #[error("{} must be a folder with `postgres` and `initdb` of PostgreSQL {OLDEST_SERVER} or newer; {} is not", super::BINARIES_VARIABLE, folder.display())]
    NoBinaries {
        /// The folder as given.
        folder: PathBuf,
    },
    /// The data is of another major version than the programs.
    #[error("{} holds data of PostgreSQL {found}, and only {installed} is installed; install PostgreSQL {found}, or move the data with pg_dump and pg_restore, or delete the folder to begin anew", folder.display())]
    OtherVersion {
        /// The data folder.
        folder: PathBuf,
        /// The major version of the data.
        found: u32,
        /// The major versions that are installed.
        installed: String,
    },
    /// The folder has something else in it.
    #[error("{} is not empty and was not made by bellwether; name an empty folder or a new one", folder.display())]
    NotOurs {
        /// The folder.
        folder: PathBuf,
    },
    /// A server runs on the data.
    #[error("an embedded PostgreSQL is already running in {}{}; stop it, or use another folder", folder.display(), pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    AlreadyRunning {
        /// The data folder.
        folder: PathBuf,
        /// The server's process, if known.
        pid: Option<i32>,
    },
    /// PostgreSQL does not run as root, and there is nobody else to run as.
    #[error(
        "PostgreSQL does not run as root, and account {name:?} does not exist; name one in {}",
        super::ACCOUNT_VARIABLE
    )]
    NoAccount {
        /// The account that was looked for.
        name: String,
    },
    /// The account that PostgreSQL runs as cannot get into a parent of the data folder.
    #[error("PostgreSQL does not run as root, and account {account:?} cannot enter {}; use a folder outside it, such as /var/lib/bellwether", parent.display())]
    OutOfReach {
        /// The folder that bars the way.
        parent: PathBuf,
        /// The account.
        account: String,
    },
    /// A file or folder cannot be used.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A program cannot be started.
    #[error("cannot run {}", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The data folder could not be set up.
    #[error("initdb failed ({status}):\n{output}")]
    Initdb {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        output: String,
    },
    /// The server ended while it was starting.
    #[error("PostgreSQL ended while starting ({status}); its log says:\n{log}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// The server runs and lets nobody in.
    #[error("PostgreSQL was not ready within {} s; its log says:\n{log}", after.as_secs())]
    NotReady {
        /// How long was waited.
        after: Duration,
        /// The end of its log.
        log: String,
        /// The last answer.
        #[source]
        source: ConnectError,
    },
    /// The server runs and does not know us.
    #[error(
        "PostgreSQL runs, but does not let us in; is the file `password` the one that belongs to the data?"
    )]
    Refused(#[source] ConnectError),
    /// The server runs but its database cannot be made.
    #[error("cannot create the database")]
    Database(#[source] tokio_postgres::Error),
}

impl EmbeddedError {
    /// For `map_err` on file operations.
    pub(super) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}

/// The one command that installs PostgreSQL on this kind of machine.
fn install_command() -> &'static str {
    let has = |program: &str| {
        std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        })
    };
    match () {
        () if cfg!(target_os = "macos") => "brew install postgresql@17",
        () if has("apt-get") => "sudo apt-get install -y postgresql",
        () if has("dnf") => "sudo dnf install -y postgresql-server",
        () if has("apk") => "apk add postgresql17",
        () if has("pacman") => "sudo pacman -S postgresql",
        () => "your package manager (package postgresql)",
    }
}
