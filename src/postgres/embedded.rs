//! A PostgreSQL server of our own: a child process with its data in a folder.
//!
//! It is for a newcomer who has no server, and for tests. It listens on 127.0.0.1 only and asks for a random password,
//! which is kept in the folder, so the data is as private as the folder is. The data survives restarts.
//!
//! Only one bellwether at a time uses a folder (a file lock says so), and the server never outlives it: it is stopped in
//! order by [`EmbeddedPostgres::stop`], at once when the value is dropped, and by the kernel when the process dies.

use std::{path::Path, time::Duration};

use nix::sys::signal::Signal;
use tokio::time::{Instant, timeout};
use tokio_postgres::error::SqlState;

mod account;
mod binaries;
mod error;
mod folder;
mod initdb;
mod options;
mod ports;
mod process;

pub use self::{
    account::ACCOUNT_VARIABLE, binaries::BINARIES_VARIABLE, error::EmbeddedError,
    folder::default_data_dir, options::EmbeddedOptions,
};
use self::{
    account::Account,
    binaries::Binaries,
    folder::DataFolder,
    initdb::{initdb, prepare},
    ports::{PORT_ATTEMPTS, free_port, is_free},
    process::Process,
};
use super::{config::DatabaseConfig, pool::ConnectError};

/// The superuser, and the database that is made for it.
const NAME: &str = "bellwether";
/// How long an immediate shutdown may take.
const QUIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server that finds its port taken may need to give up.
const REFUSAL_GRACE: Duration = Duration::from_secs(2);
const FIRST_POLL: Duration = Duration::from_millis(10);
const LONGEST_POLL: Duration = Duration::from_millis(200);

/// A server that runs as our child. Dropping it ends the server; [`EmbeddedPostgres::stop`] does so in order.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    // Before the folder, so that the server is gone when the folder's lock is released.
    process: Option<Process>,
    folder: DataFolder,
    account: Account,
    binaries: Binaries,
    options: EmbeddedOptions,
    password: String,
    port: u16,
}

impl EmbeddedPostgres {
    /// Starts a server on the data in `data_dir`, which is made on first use, and waits until it accepts connections.
    ///
    /// # Errors
    /// See [`EmbeddedError`]; nothing is left running.
    pub async fn start(data_dir: &Path, options: EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let folder = DataFolder::open(data_dir)?;
        let binaries = Binaries::find(folder.root(), folder.major()?)?;
        let account = Account::choose(&folder.cluster())?;
        account.reach(folder.root())?;
        if folder.major()?.is_none() {
            initdb(&folder, &binaries, &account, &options).await?;
        }
        account.own(folder.root())?;
        folder.wait_for_predecessor().await?;
        folder.clear_stale_pid()?;
        let mut server = Self {
            process: None,
            password: folder.password()?,
            port: 0,
            folder,
            account,
            binaries,
            options,
        };
        server.launch_on_some_port().await?;
        server.create_database().await?;
        Ok(server)
    }

    /// A connection string with the password in it, for `psql` and for programs.
    pub fn url(&self) -> String {
        self.url_of(NAME)
    }

    /// How to connect to the server's database.
    pub fn config(&self) -> DatabaseConfig {
        self.config_of(NAME)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process id, while it runs.
    pub fn pid(&self) -> Option<i32> {
        let process = self.process.as_ref()?;
        process.status().is_none().then(|| process.pid().as_raw())
    }

    /// Completes when the server has ended, whoever ended it.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let ended = self.process.as_ref().map(Process::ended);
        async move {
            if let Some(ended) = ended {
                ended.await;
            }
        }
    }

    /// Shuts the server down in order: sessions are ended, everything is written. Twice is harmless.
    ///
    /// When that takes longer than [`EmbeddedOptions::stop_timeout`], the shutdown is made an immediate one, after
    /// which the next start recovers from the log.
    pub async fn stop(&mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        if process
            .end_by(Signal::SIGINT, self.options.stop_timeout)
            .await
        {
            return;
        }
        tracing::warn!(limit = ?self.options.stop_timeout, "embedded PostgreSQL did not stop in time; stopping it at once");
        if !process.end_by(Signal::SIGQUIT, QUIT_TIMEOUT).await {
            process.kill_all().await;
        }
    }

    /// Kills the server with all its processes, as a power cut would. The next start recovers from the log.
    pub async fn kill_hard(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill_all().await;
        }
    }

    /// Starts the server again on the same port, after stopping it in order if it still runs.
    ///
    /// # Errors
    /// As of [`EmbeddedPostgres::start`].
    pub async fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.stop().await;
        self.folder.clear_stale_pid()?;
        self.launch(self.port).await
    }

    /// Takes the port of the options, else the last one, else a free one. One that is free now may be taken by the time
    /// the server wants it, hence the attempts.
    async fn launch_on_some_port(&mut self) -> Result<(), EmbeddedError> {
        if let Some(port) = self.options.port {
            return self.launch(port).await;
        }
        let mut port = self.folder.last_port().filter(|&port| is_free(port));
        let mut attempt = 1;
        loop {
            match self.launch(port.unwrap_or_else(free_port)).await {
                Err(EmbeddedError::Ended { .. })
                    if attempt < PORT_ATTEMPTS && !is_free(self.port) =>
                {
                    attempt += 1;
                    port = None;
                }
                result => return result,
            }
        }
    }

    /// Starts the server on a port and waits until it accepts connections.
    async fn launch(&mut self, port: u16) -> Result<(), EmbeddedError> {
        self.port = port;
        let (log, log_start) = self.folder.open_log()?;
        self.account.own(&self.folder.log_file())?;
        let log_too = log
            .try_clone()
            .map_err(EmbeddedError::file("open the log in", self.folder.root()))?;
        let program = self.binaries.program("postgres");
        let mut command = process::tied_to_us(&program);
        command.arg("-D").arg(self.folder.cluster());
        for (name, value) in self.settings() {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        prepare(&mut command, &self.folder, &self.account);
        command.stdout(log).stderr(log_too);
        let process =
            Process::start(command).map_err(|source| EmbeddedError::Program { program, source })?;
        self.await_ready(&process, log_start).await?;
        self.process = Some(process);
        self.folder.keep_port(port)?;
        self.account.own(&self.folder.port_file())
    }

    fn settings(&self) -> Vec<(String, String)> {
        let mut settings = vec![
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", self.port.to_string()),
            ("unix_socket_directories", String::new()),
            ("logging_collector", "off".to_owned()),
            ("cluster_name", NAME.to_owned()),
        ];
        if !self.options.durable {
            settings.push(("fsync", "off".to_owned()));
            settings.push(("full_page_writes", "off".to_owned()));
        }
        settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .chain(self.options.settings.iter().cloned())
            .collect()
    }

    /// Knocks until somebody opens, the process ends, or the time is over.
    async fn await_ready(&self, process: &Process, log_start: u64) -> Result<(), EmbeddedError> {
        let config = self.config_of("postgres");
        let deadline = Instant::now() + self.options.start_timeout;
        let mut pause = FIRST_POLL;
        loop {
            let answer = config.connect("bellwether embedded").await;
            if matches!(&answer, Err(error) if is_final(error)) {
                // Perhaps it is somebody else who answers, and our server is about to find the port taken.
                let _ = timeout(REFUSAL_GRACE, process.ended()).await;
            }
            if let Some(status) = process.status() {
                return Err(EmbeddedError::Ended {
                    status,
                    log: self.folder.log_tail(log_start),
                });
            }
            match answer {
                Ok(_) => return Ok(()),
                Err(error) if is_final(&error) => return Err(EmbeddedError::Refused(error)),
                Err(error) if Instant::now() > deadline => {
                    return Err(EmbeddedError::NotReady {
                        after: self.options.start_timeout,
                        log: self.folder.log_tail(log_start),
                        source: error,
                    });
                }
                Err(_) => {
                    // Woken early when the process ends.
                    let _ = timeout(pause, process.ended()).await;
                    pause = (pause * 2).min(LONGEST_POLL);
                }
            }
        }
    }

    async fn create_database(&self) -> Result<(), EmbeddedError> {
        let (client, connection) = self
            .config_of("postgres")
            .connect("bellwether embedded")
            .await
            .map_err(EmbeddedError::Refused)?;
        let driver = tokio::spawn(connection);
        let created = async {
            let exists = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1";
            if client.query_opt(exists, &[&NAME]).await?.is_none() {
                client
                    .batch_execute(&format!("CREATE DATABASE {NAME}"))
                    .await?;
            }
            Ok(())
        };
        let result = created.await.map_err(EmbeddedError::Database);
        drop(client);
        // What went wrong on the connection has reached the statement that it interrupted.
        let _ = driver.await;
        result
    }

    fn config_of(&self, database: &str) -> DatabaseConfig {
        self.url_of(database)
            .parse()
            .expect("a URL of our own making is valid")
    }

    fn url_of(&self, database: &str) -> String {
        let (password, port) = (&self.password, self.port);
        format!("postgres://{NAME}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
    }
}

/// Whether to stop knocking: the server has answered, and will not change its mind.
fn is_final(error: &ConnectError) -> bool {
    let ConnectError::Refused { source, .. } = error else {
        return false;
    };
    matches!(
        source.code(),
        Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
    )
}
