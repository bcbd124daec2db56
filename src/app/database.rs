//! The database that a relay runs on: one somewhere, or one of our own, watched over.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::cli::DatabaseChoice;
use crate::postgres::config::DatabaseConfig;
use crate::postgres::embedded::{EmbeddedOptions, EmbeddedPostgres, default_data_dir};

/// How long an embedded server that was killed stays away: long enough to see the screen say so.
const RESTART_PAUSE: Duration = Duration::from_secs(5);

/// A database, and the server where it is ours.
pub struct Database {
    /// How to reach it.
    pub config: DatabaseConfig,
    /// Our own server.
    pub embedded: Option<EmbeddedPostgres>,
}

impl Database {
    /// Starts our own server where one was asked for.
    ///
    /// # Errors
    /// Where it does not start; nothing is left running.
    pub async fn open(choice: DatabaseChoice) -> Result<Self, AppError> {
        match (choice.embedded, choice.database_url) {
            (None, Some(config)) => Ok(Self {
                config,
                embedded: None,
            }),
            (folder, _) => Self::embedded(folder.flatten()).await,
        }
    }

    /// Starts our own server, with its data in this folder or the usual one.
    ///
    /// # Errors
    /// Where it does not start; nothing is left running.
    pub async fn embedded(folder: Option<PathBuf>) -> Result<Self, AppError> {
        let folder = folder.unwrap_or_else(default_data_dir);
        let server = EmbeddedPostgres::start(&folder, EmbeddedOptions::default()).await?;
        tracing::info!(folder = %folder.display(), port = server.port(), "embedded PostgreSQL is running");
        Ok(Self {
            config: server.config(),
            embedded: Some(server),
        })
    }

    /// Watches over our own server until the token is cancelled, then stops it. One that ends by itself, or is killed,
    /// is started again after [`RESTART_PAUSE`].
    pub async fn keep(self, stop: CancellationToken) {
        let Some(mut server) = self.embedded else {
            return;
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = server.ended() => {}
            }
            tracing::warn!(again_in = ?RESTART_PAUSE, "embedded PostgreSQL has ended by itself");
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(RESTART_PAUSE) => {}
            }
            match server.restart().await {
                Ok(()) => {
                    tracing::info!(port = server.port(), "embedded PostgreSQL is running again")
                }
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "embedded PostgreSQL does not start"
                ),
            }
        }
        server.stop().await;
        tracing::info!("embedded PostgreSQL has stopped");
    }
}
