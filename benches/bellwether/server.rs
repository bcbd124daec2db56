//! A PostgreSQL of our own, durable as a real one, and the databases that are compared on it.

use std::str::FromStr;

use bellwether::postgres::{DatabaseConfig, EmbeddedOptions, EmbeddedPostgres};
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

use super::Outcome;

/// The database that the embedded server makes; the others are copies of it.
pub(crate) const TEMPLATE: &str = "bellwether";

/// The server. It is stopped and removed with this value.
pub(crate) struct Server {
    // Before the folder, so that the server is gone when its data is removed.
    postgres: EmbeddedPostgres,
    folder: TempDir,
}

impl Server {
    /// Starts one that flushes what it commits. A checkpoint in the middle of one round and not of another would look
    /// like a difference between them, so none comes by itself.
    pub(crate) async fn start() -> Outcome<Self> {
        let folder = TempDir::new()?;
        let options = EmbeddedOptions::default()
            .setting("max_connections", "150")
            .setting("shared_buffers", "512MB")
            .setting("max_wal_size", "16GB")
            .setting("checkpoint_timeout", "1d")
            .setting("log_min_messages", "warning");
        let data = folder.path().join("data");
        // PostgreSQL may run as somebody else than we do, who has to get there.
        let mut permissions = std::fs::metadata(folder.path())?.permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        std::fs::set_permissions(folder.path(), permissions)?;
        let postgres = EmbeddedPostgres::start(&data, options).await?;
        Ok(Self { postgres, folder })
    }

    /// A folder for other files of this run.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) async fn stop(mut self) {
        self.postgres.stop().await;
    }

    /// A connection string for anybody.
    pub(crate) fn url(&self, database: &str) -> String {
        let url = self.postgres.url();
        let (address, query) = url.split_once('?').unwrap_or((&url, ""));
        let server = address
            .rsplit_once('/')
            .map_or(address, |(server, _)| server);
        format!("{server}/{database}?{query}")
    }

    /// How a relay connects.
    pub(crate) fn config(&self, database: &str) -> Outcome<DatabaseConfig> {
        Ok(DatabaseConfig::from_str(&self.url(database))?)
    }

    /// The parts of the connection string, for a program that takes them from the environment.
    pub(crate) fn environment(&self, database: &str) -> Outcome<Vec<(&'static str, String)>> {
        let config = Config::from_str(&self.url(database))?;
        let password = config.get_password().unwrap_or_default();
        Ok(vec![
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", self.postgres.port().to_string()),
            ("PGUSER", config.get_user().unwrap_or_default().to_owned()),
            ("PGPASSWORD", String::from_utf8_lossy(password).into_owned()),
            ("PGDATABASE", database.to_owned()),
            ("PGSSLMODE", "disable".to_owned()),
        ])
    }

    /// A session as an application has it.
    pub(crate) async fn session(&self, database: &str) -> Outcome<Client> {
        let (client, connection) = tokio_postgres::connect(&self.url(database), NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Copies the template and makes of the copy what is to be measured.
    pub(crate) async fn copy(&self, database: &str, statements: &str) -> Outcome<()> {
        let administrator = self.session("postgres").await?;
        administrator
            .batch_execute(&format!("CREATE DATABASE {database} TEMPLATE {TEMPLATE}"))
            .await?;
        let session = self.session(database).await?;
        session.batch_execute(statements).await?;
        session.batch_execute("VACUUM ANALYZE").await?;
        Ok(())
    }

    /// Where the WAL ends, in bytes.
    pub(crate) async fn wal(&self) -> Outcome<f64> {
        let session = self.session("postgres").await?;
        let position = "SELECT (pg_current_wal_insert_lsn() - '0/0')::double precision";
        Ok(session.query_one(position, &[]).await?.get(0))
    }

    /// The facts without which the numbers mean nothing.
    pub(crate) async fn describe(&self) -> Outcome<String> {
        let session = self.session("postgres").await?;
        let version: String = session.query_one("SELECT version()", &[]).await?.get(0);
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let model = model.map_or("unknown processor", |(_, model)| model.trim());
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or("unknown");
        Ok(format!(
            "Machine: {cores} cores ({model}), load {load} before\nServer: {version}"
        ))
    }
}
