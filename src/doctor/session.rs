//! The session that the checks ask with. It can change nothing, and no statement of it runs for long.
//!
//! Behind a proxy that pools by transaction nothing at all is set in it: the setting would stay with a process of the
//! server and meet whichever application is served by it next. Then only our own clock bounds a check.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::postgres::config::DatabaseConfig;
use crate::postgres::{ConnectError, MigrateError};

/// The name under which the doctor stands in `pg_stat_activity`.
pub(super) const APPLICATION_NAME: &str = "bellwether doctor";

/// Why a check could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error("the database refused")]
    Database(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error("there is no session left to ask with")]
    NoSession,
    #[error("the relay did not answer as expected: {0}")]
    Relay(String),
    #[error("the relay cannot be reached")]
    Http(#[source] reqwest::Error),
}

impl CheckError {
    /// With all causes, on one line.
    pub(super) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let next = error.to_string();
            if !text.ends_with(&next) {
                text = format!("{text}: {next}");
            }
            cause = error.source();
        }
        text
    }
}

/// A session that is replaced when it was lost or does not answer.
pub(super) struct Session {
    config: DatabaseConfig,
    limit: Duration,
    /// Whether a proxy hands the server's processes round: then nothing may be set in them.
    is_shared: AtomicBool,
    client: Mutex<Option<Arc<Client>>>,
}

impl Session {
    /// Connects. Nothing is set in the session yet.
    pub(super) async fn open(
        config: &DatabaseConfig,
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        let session = Self {
            config: config.clone(),
            limit,
            is_shared: AtomicBool::new(true),
            client: Mutex::default(),
        };
        let client = session.another().await?;
        session.replace(Some(Arc::new(client)));
        Ok(session)
    }

    /// Takes note that sessions are the server's own, and begins a new one that is set up.
    pub(super) async fn set_up(&self) {
        self.is_shared.store(false, Ordering::Relaxed);
        self.renew().await;
    }

    /// A further session like this one.
    pub(super) async fn another(&self) -> Result<Client, ConnectError> {
        if self.is_shared.load(Ordering::Relaxed) {
            let (client, connection) = self.config.connect_bare(APPLICATION_NAME).await?;
            tokio::spawn(connection);
            return Ok(client);
        }
        let (client, connection) = self.config.connect(APPLICATION_NAME).await?;
        tokio::spawn(connection);
        let settings = format!(
            "SET default_transaction_read_only = on; SET statement_timeout = {0}; SET lock_timeout = {0}",
            self.limit.as_millis().max(1)
        );
        // Where the settings are refused, the statements that follow say why.
        let _ = client.batch_execute(&settings).await;
        Ok(client)
    }

    /// How to connect.
    pub(super) fn config(&self) -> &DatabaseConfig {
        &self.config
    }

    /// Throws the session away and opens another one, since the present one may still be waiting for an answer.
    pub(super) async fn renew(&self) {
        self.replace(None);
        self.replace(self.another().await.ok().map(Arc::new));
    }

    /// Opens another session if this one was lost.
    pub(super) async fn ensure(&self) {
        if self.client().is_err() {
            self.renew().await;
        }
    }

    /// The session itself.
    pub(super) fn client(&self) -> Result<Arc<Client>, CheckError> {
        let held = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let open = held.as_ref().filter(|client| !client.is_closed());
        open.cloned().ok_or(CheckError::NoSession)
    }

    /// The rows of a statement. It is not prepared by name: a proxy in the way would lose it.
    pub(super) async fn rows(&self, statement: &str) -> Result<Vec<Row>, CheckError> {
        Ok(self.client()?.query_typed(statement, &[]).await?)
    }

    /// The rows of a statement in which no name is left unqualified, whoever asks.
    pub(super) async fn qualified_rows(&self, statement: &str) -> Result<Vec<Row>, CheckError> {
        let client = self.client()?;
        client
            .batch_execute("BEGIN READ ONLY; SET LOCAL search_path = ''")
            .await?;
        let rows = client.query_typed(statement, &[]).await;
        // Ends it in either case.
        client.batch_execute("COMMIT").await?;
        Ok(rows?)
    }

    /// The one row of a statement.
    pub(super) async fn row(&self, statement: &str) -> Result<Row, CheckError> {
        Ok(self.client()?.query_typed_one(statement, &[]).await?)
    }

    /// The one row of a statement with parameters.
    pub(super) async fn row_with(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Row, CheckError> {
        let client = self.client()?;
        Ok(client.query_typed_one(statement, parameters).await?)
    }

    fn replace(&self, client: Option<Arc<Client>>) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }
}
