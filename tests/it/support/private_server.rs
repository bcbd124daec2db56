//! A server for one test, to be killed, restarted and set up as the test likes.

use std::path::Path;

use bellwether::postgres::{self, DatabaseConfig, EmbeddedOptions, EmbeddedPostgres};
use tempfile::TempDir;
use tokio_postgres::Client;

use super::{connect_as_application, server_options};

/// A cluster of its own. It is killed and removed with this value.
pub(crate) struct PrivateServer {
    /// The server, to be stopped, killed and restarted.
    pub(crate) postgres: EmbeddedPostgres,
    folder: TempDir,
}

impl PrivateServer {
    /// Starts one with the settings that all tests use.
    pub(crate) async fn start() -> Self {
        Self::start_with(server_options()).await
    }

    /// Starts one with settings of the test's own.
    pub(crate) async fn start_with(options: EmbeddedOptions) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let postgres = EmbeddedPostgres::start(folder.path(), options)
            .await
            .unwrap_or_else(|error| panic!("no server: {}", super::chain(&error)));
        Self { postgres, folder }
    }

    /// Starts one with the settings that all tests use, on data that is made first.
    pub(crate) async fn start_on(make_data: impl FnOnce(&Path)) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        make_data(folder.path());
        let postgres = EmbeddedPostgres::start(folder.path(), server_options())
            .await
            .unwrap_or_else(|error| panic!("no server: {}", super::chain(&error)));
        Self { postgres, folder }
    }

    /// Starts one and migrates its database.
    pub(crate) async fn migrated() -> Self {
        Self::migrated_with(server_options()).await
    }

    /// Starts one that counts statements in `pg_stat_statements`, and migrates its database.
    pub(crate) async fn counting_statements() -> Self {
        let counted = server_options().setting("shared_preload_libraries", "pg_stat_statements");
        let server = Self::migrated_with(counted).await;
        server
            .client()
            .await
            .batch_execute("CREATE EXTENSION pg_stat_statements")
            .await
            .expect("the extension");
        server
    }

    /// Starts one whose doorbell [`Self::hold_the_bell`] can hold up, and migrates its database.
    pub(crate) async fn with_a_bell_to_hold() -> Self {
        let settings = server_options()
            .setting("synchronous_standby_names", "nobody")
            .setting("synchronous_commit", "local");
        Self::migrated_with(settings).await
    }

    /// Holds up everybody who rings, by a commit that waits for a standby that never comes, until somebody cancels that.
    pub(crate) async fn hold_the_bell(&self) {
        const HOLD: &str = "CREATE TABLE scratch (); SET synchronous_commit = on;
            BEGIN; INSERT INTO scratch DEFAULT VALUES; NOTIFY other; COMMIT";
        let held = self.client().await.batch_execute(HOLD).await;
        held.expect("committed at last");
    }

    /// Starts one with settings of the test's own and migrates its database.
    pub(crate) async fn migrated_with(options: EmbeddedOptions) -> Self {
        let server = Self::start_with(options).await;
        postgres::migrate(&server.config())
            .await
            .unwrap_or_else(|error| panic!("no schema: {}", super::chain(&error)));
        server
    }

    /// How a relay connects.
    pub(crate) fn config(&self) -> DatabaseConfig {
        self.postgres.config()
    }

    /// A URL for anybody.
    pub(crate) fn url(&self) -> String {
        self.postgres.url()
    }

    /// A session as an application has it.
    pub(crate) async fn client(&self) -> Client {
        connect_as_application(&self.url()).await
    }

    /// The data folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}
