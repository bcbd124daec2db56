//! Is there a proxy in the way that pools by transaction or statement? Through it nobody can LISTEN.
//!
//! Two sessions are open at once. If the server shows both the same process, or one of them another process from one
//! transaction to the next, then they are not sessions of the server.

use tokio_postgres::Client;

use crate::doctor::report::Finding;
use crate::doctor::session::{APPLICATION_NAME, CheckError};
use crate::postgres::config::DatabaseConfig;

const ROUNDS: usize = 3;
const PROCESS: &str = "SELECT pg_backend_pid()";

/// The processes that served the first session, then the second inside a transaction, then the first again.
struct Round {
    before: i32,
    other: i32,
    after: i32,
}

/// Whether two sessions were served by one process, or one of them by several.
fn is_pooled(rounds: &[Round]) -> bool {
    let own = rounds.first().map(|round| round.before);
    rounds.iter().any(|round| {
        round.before == round.other || round.after != round.before || Some(round.before) != own
    })
}

/// What it found, and whether there is such a proxy. Asked before anything is set in a session.
pub(in crate::doctor) async fn check(
    config: &DatabaseConfig,
) -> Result<(Finding, bool), CheckError> {
    let (first, second) = (bare(config).await?, bare(config).await?);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let before = process(&first).await?;
        // An open transaction keeps its process, so that a proxy has to find another one for the first session.
        second.batch_execute("BEGIN").await?;
        let other = process(&second).await?;
        let after = process(&first).await?;
        second.batch_execute("ROLLBACK").await?;
        rounds.push(Round {
            before,
            other,
            after,
        });
    }
    let pooled = is_pooled(&rounds);
    let finding = if pooled {
        Finding::failure(
            "a proxy pools by transaction: one session is served by several server processes",
            "connect the relay past the proxy, straight to PostgreSQL (or to a pool in session mode); applications may stay",
        )
    } else {
        Finding::ok("sessions are the server's own: no proxy pools by transaction")
    };
    Ok((finding.figure("pooled_by_transaction", pooled), pooled))
}

async fn bare(config: &DatabaseConfig) -> Result<Client, CheckError> {
    let (client, connection) = config.connect_bare(APPLICATION_NAME).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn process(client: &Client) -> Result<i32, CheckError> {
    Ok(client.query_typed_one(PROCESS, &[]).await?.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(processes: &[[i32; 3]]) -> Vec<Round> {
        let round = |[before, other, after]: &[i32; 3]| Round {
            before: *before,
            other: *other,
            after: *after,
        };
        processes.iter().map(round).collect()
    }

    #[test]
    fn sessions_of_the_servers_own_keep_their_processes() {
        assert!(!is_pooled(&rounds(&[[1, 2, 1], [1, 2, 1]])));
    }

    #[test]
    fn a_process_that_serves_both_or_changes_betrays_a_pool() {
        assert!(
            is_pooled(&rounds(&[[1, 1, 2]])),
            "the last one used is used again"
        );
        assert!(is_pooled(&rounds(&[[1, 2, 3]])), "in turn");
        assert!(
            is_pooled(&rounds(&[[1, 2, 1], [2, 1, 2]])),
            "between rounds"
        );
    }
}
