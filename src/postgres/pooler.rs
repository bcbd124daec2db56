//! Whether a transaction pooler stands between us and the server.
//!
//! A pooler in transaction mode (PgBouncer, and others like it) gives a client a server connection for one transaction
//! at a time. Then nothing that belongs to a session works: `LISTEN` hears nothing, a `SET` stays on a connection that
//! somebody else gets next, a prepared statement is not there the next time. No pooler says that it is one, so it is
//! recognised by what it does: a session's server process is given to another session while the first one is idle, or a
//! session finds itself at another process from one transaction to the next. On a connection of one's own neither can
//! happen.

use std::sync::atomic::Ordering;

use tokio::time::timeout;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::config::DatabaseConfig;
use super::pool::{ConnectError, Setup};

/// How often the two sessions are compared: a pooler that goes round its server connections may give each the same one
/// again by chance.
const ROUNDS: usize = 3;

impl DatabaseConfig {
    /// Finds out whether a transaction pooler is in the way; sessions opened from here on mind it.
    ///
    /// # Errors
    /// Where the two sessions that it takes cannot be had.
    pub async fn look_for_pooler(&self) -> Result<bool, ConnectError> {
        let limit = self.time_to_connect();
        let is_pooled = match timeout(limit, self.compare_sessions()).await {
            Ok(Ok(is_pooled)) => is_pooled,
            Ok(Err(source)) => {
                return Err(ConnectError::Refused {
                    target: self.to_string(),
                    source,
                });
            }
            Err(_) => {
                return Err(ConnectError::TimedOut {
                    target: self.to_string(),
                    limit,
                });
            }
        };
        self.is_pooled.store(is_pooled, Ordering::Relaxed);
        Ok(is_pooled)
    }

    /// Whether a transaction pooler was found in the way.
    pub fn is_pooled(&self) -> bool {
        self.is_pooled.load(Ordering::Relaxed)
    }

    async fn compare_sessions(&self) -> Result<bool, Error> {
        let establish = || self.establish("bellwether check", Setup::Bare);
        let ((idle, first), (other, second)) = tokio::try_join!(establish(), establish())?;
        let comparing = async {
            for _ in 0..ROUNDS {
                let before = server_process(&idle).await?;
                other.batch_execute("BEGIN").await?;
                if server_process(&other).await? == before {
                    return Ok(true);
                }
                let after = server_process(&idle).await?;
                other.batch_execute("COMMIT").await?;
                if after != before {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        tokio::select! {
            outcome = comparing => outcome,
            Err(error) = first => Err(error),
            Err(error) = second => Err(error),
        }
    }
}

/// Which process of which server answers: two hosts may have processes of the same number.
async fn server_process(client: &Client) -> Result<Option<String>, Error> {
    let process = "SELECT pg_backend_pid() || ' of ' || pg_postmaster_start_time()";
    let answer = client.simple_query(process).await?;
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
