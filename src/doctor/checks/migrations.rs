//! Is the schema what this binary needs, by the migrator's own records?

use crate::doctor::report::Finding;
use crate::doctor::session::{CheckError, Session};
use crate::postgres::schema::{FUNCTIONS, MIGRATIONS};
use crate::postgres::{MigrateError, check as check_schema};

/// What it found, and whether there is a schema at all.
pub(in crate::doctor) async fn check(session: &Session) -> Result<(Finding, bool), CheckError> {
    let there = session
        .row("SELECT to_regclass('bellwether.event') IS NOT NULL AND to_regclass('public.sync_operations') IS NOT NULL")
        .await?
        .get(0);
    let version = MIGRATIONS.last().map_or(0, |last| last.version);
    let finding = match check_schema(&*session.client()?).await {
        Ok(()) => Finding::ok(format!(
            "schema version {version}: {} migrations and {} function files applied, none of them changed",
            MIGRATIONS.len(),
            FUNCTIONS.len()
        )),
        Err(error) => match advice(&error) {
            Some(advice) => Finding::failure(error.to_string(), advice),
            None => return Err(error.into()),
        },
    };
    Ok((finding.figure("schema_version", version), there))
}

/// What mends it, where the schema is at fault and not the question.
fn advice(error: &MigrateError) -> Option<&'static str> {
    match error {
        MigrateError::Behind { .. } => Some(
            "run `bellwether migrate` as a role that owns the schema (`serve` does it too, unless --no-migrate)",
        ),
        MigrateError::DatabaseNewer { .. } => {
            Some("run the newer bellwether here too; an older one refuses to serve")
        }
        MigrateError::ChecksumDiffers { .. } => Some(
            "use the bellwether that applied it, or restore the file; a change belongs into a new migration",
        ),
        MigrateError::Standby | MigrateError::ServerTooOld { .. } => {
            Some("see server version and primary")
        }
        _ => None,
    }
}
