//! Brings a database to the schema that this binary needs, or says why it will not.
//!
//! Forward only. Each migration is one transaction, and so are all functions together. Every transaction locks the
//! migrator's own table first and only then looks at what is left to do, so any number of migrators may start at once:
//! the first does the work and the others find it done. Where there is no such table yet, an advisory lock has to do; any
//! role that may connect could keep that, but it is needed only once. No statement waits long for a table that others write, because
//! whoever comes after a waiting migration would wait too; the transaction is given up and tried again instead.

use std::{fmt, time::Duration};

use tokio_postgres::{Client, IsolationLevel, Transaction, error::SqlState};

use self::missing::{Missing, refuse_server};
use super::{
    config::DatabaseConfig,
    pool::transaction_settings,
    schema::{BOOTSTRAP, FUNCTIONS, Function, MIGRATIONS, Migration},
};

mod error;
mod missing;

pub use self::error::MigrateError;

/// How long one statement may wait for a lock, and so how long a migration can hold up a writer before it lets go.
pub const LOCK_TIMEOUT: Duration = Duration::from_millis(200);
/// How often a transaction is tried while somebody else holds a lock that it needs.
pub const LOCK_ATTEMPTS: u32 = 40;
/// How long to wait for another migrator to finish one of its transactions.
pub const MIGRATOR_TIMEOUT: Duration = Duration::from_secs(120);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(2);
/// The advisory lock that migrators take where there is no table to lock: `bellweth` in ASCII.
const ADVISORY_LOCK: i64 = 0x6265_6c6c_7765_7468;
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a run has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationReport {
    /// The migrations that this run applied, in order.
    pub applied: Vec<i32>,
    /// The functions and triggers that this run applied, by file name, in order.
    pub functions: Vec<&'static str>,
}

impl fmt::Display for MigrationReport {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = MIGRATIONS.last().map_or(0, |last| last.version);
        if self.applied.is_empty() && self.functions.is_empty() {
            return write!(f, "schema version {version}: nothing to do");
        }
        write!(
            f,
            "schema version {version}: applied {} and {}",
            count(self.applied.len(), "migration"),
            count(self.functions.len(), "function")
        )
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Brings the database to what this binary needs. Where nothing is to be done, nothing is written or locked.
///
/// # Errors
/// See [`MigrateError`]; the transaction that failed has left no trace, those before it stay.
pub async fn migrate(config: &DatabaseConfig) -> Result<MigrationReport, MigrateError> {
    // Each transaction says what matters: through a pooler, what a session sets stays for whoever comes next.
    let (mut client, connection) = config.connect_bare("bellwether migrate").await?;
    let driver = tokio::spawn(connection);
    let result = migrate_with(&mut client).await;
    drop(client);
    // The connection's own error has reached the statement that it interrupted.
    let _ = driver.await;
    result
}

/// Tells whether the schema is exactly what this binary needs. Reads only.
///
/// # Errors
/// [`MigrateError::Behind`] names what is missing; the other variants say what cannot be mended by migrating.
pub async fn check(client: &Client) -> Result<(), MigrateError> {
    let missing = find_missing(client).await?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(MigrateError::Behind {
        missing: missing.to_string(),
    })
}

async fn migrate_with(client: &mut Client) -> Result<MigrationReport, MigrateError> {
    let mut report = MigrationReport::default();
    let missing = find_missing(client).await?;
    if missing.is_empty() {
        return Ok(report);
    }
    if missing.bootstrap {
        perform(client, &Step::Bootstrap, &mut report).await?;
    }
    for migration in MIGRATIONS {
        perform(client, &Step::Migration(migration), &mut report).await?;
    }
    perform(client, &Step::Functions, &mut report).await?;
    Ok(report)
}

/// Reads in one transaction, since a pooler may give the next one another server connection.
async fn find_missing(client: &Client) -> Result<Missing, MigrateError> {
    let failed = |source| MigrateError::failed("reading what has been applied", source);
    let begin = format!("BEGIN; {}", transaction_settings());
    client.batch_execute(&begin).await.map_err(failed)?;
    let found = async {
        refuse_server(client).await?;
        Missing::read(client).await
    };
    let found = found.await;
    client.batch_execute("ROLLBACK").await.map_err(failed)?;
    found
}

/// One transaction of a run.
enum Step {
    Bootstrap,
    Migration(&'static Migration),
    Functions,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bootstrap => f.write_str("creating schema bellwether"),
            Self::Migration(migration) => write!(f, "migration {}", migration.name),
            Self::Functions => f.write_str("applying the functions"),
        }
    }
}

/// Runs a step in one transaction, again and again while somebody else holds a lock that it needs.
async fn perform(
    client: &mut Client,
    step: &Step,
    report: &mut MigrationReport,
) -> Result<(), MigrateError> {
    let mut pause = FIRST_RETRY;
    for _ in 0..LOCK_ATTEMPTS {
        match attempt(client, step).await {
            Ok(done) => {
                report.applied.extend(done.applied);
                report.functions.extend(done.functions);
                return Ok(());
            }
            Err(error) if is_lock_conflict(&error) => {
                tracing::debug!(%step, ?pause, "a lock is held by somebody else");
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                pause = (pause * 2).min(LONGEST_RETRY);
            }
            Err(error) => return Err(error),
        }
    }
    Err(MigrateError::Locked {
        step: step.to_string(),
    })
}

fn is_lock_conflict(error: &MigrateError) -> bool {
    let MigrateError::Failed { source, .. } = error else {
        return false;
    };
    matches!(
        source.code(),
        Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::T_R_DEADLOCK_DETECTED)
    )
}

async fn attempt(client: &mut Client, step: &Step) -> Result<MigrationReport, MigrateError> {
    let failed = |source| MigrateError::failed(step, source);
    // What is read after waiting for another migrator must be what that one has written.
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await
        .map_err(failed)?;
    take_turn(&transaction, step).await?;
    let missing = Missing::read(&transaction).await?;
    let mut done = MigrationReport::default();
    match step {
        Step::Bootstrap if missing.bootstrap => {
            transaction.batch_execute(BOOTSTRAP).await.map_err(failed)?;
        }
        Step::Migration(migration) if missing.migrations.contains(&migration.name) => {
            apply_migration(&transaction, migration).await?;
            done.applied.push(migration.version);
        }
        Step::Functions => {
            done.functions = apply_functions(&transaction, &missing.functions).await?;
        }
        Step::Bootstrap | Step::Migration(_) => {}
    }
    transaction.commit().await.map_err(failed)?;
    Ok(done)
}

/// Waits for other migrators. What is read after that is what they have left to do.
async fn take_turn(transaction: &Transaction<'_>, step: &Step) -> Result<(), MigrateError> {
    let lock = match step {
        Step::Bootstrap => format!("SELECT pg_catalog.pg_advisory_xact_lock({ADVISORY_LOCK})"),
        Step::Migration(_) | Step::Functions => {
            "LOCK TABLE bellwether.migration IN SHARE ROW EXCLUSIVE MODE".to_owned()
        }
    };
    let statements = format!(
        "{}SET LOCAL lock_timeout = {}; {lock}; SET LOCAL lock_timeout = {}",
        transaction_settings(),
        MIGRATOR_TIMEOUT.as_millis(),
        LOCK_TIMEOUT.as_millis()
    );
    match transaction.batch_execute(&statements).await {
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            Err(MigrateError::Busy)
        }
        result => result.map_err(|source| MigrateError::failed(step, source)),
    }
}

async fn apply_migration(
    transaction: &Transaction<'_>,
    migration: &Migration,
) -> Result<(), MigrateError> {
    let step = format!("migration {}", migration.name);
    transaction
        .batch_execute(migration.sql)
        .await
        .map_err(|source| MigrateError::failed_in_file(&step, migration.sql, source))?;
    let failed = |source| MigrateError::failed(&step, source);
    // A migration may have dropped or changed what functions are about, so all of them are applied again after it.
    transaction
        .batch_execute("UPDATE bellwether.function SET checksum = ''")
        .await
        .map_err(failed)?;
    transaction
        .execute(
            "INSERT INTO bellwether.migration (version, name, checksum) VALUES ($1, $2, $3)",
            &[&migration.version, &migration.name, &migration.checksum()],
        )
        .await
        .map_err(failed)?;
    Ok(())
}

async fn apply_functions(
    transaction: &Transaction<'_>,
    names: &[&str],
) -> Result<Vec<&'static str>, MigrateError> {
    let mut applied = Vec::new();
    for function in FUNCTIONS
        .iter()
        .filter(|function| names.contains(&function.name))
    {
        apply_function(transaction, function).await?;
        applied.push(function.name);
    }
    let listed: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    transaction
        .execute(
            "DELETE FROM bellwether.function WHERE name <> ALL ($1)",
            &[&listed],
        )
        .await
        .map_err(|source| MigrateError::failed("forgetting functions that are gone", source))?;
    Ok(applied)
}

async fn apply_function(
    transaction: &Transaction<'_>,
    function: &Function,
) -> Result<(), MigrateError> {
    let step = format!("function {}", function.name);
    transaction
        .batch_execute(function.sql)
        .await
        .map_err(|source| MigrateError::failed_in_file(&step, function.sql, source))?;
    transaction
        .execute(
            "INSERT INTO bellwether.function (name, checksum, applied_by) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum,
                 applied_by = excluded.applied_by, applied_at = pg_catalog.clock_timestamp()",
            &[&function.name, &function.checksum(), &VERSION],
        )
        .await
        .map_err(|source| MigrateError::failed(&step, source))?;
    Ok(())
}
