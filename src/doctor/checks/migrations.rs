//! Is the schema what this binary needs, by the migrator's own records?

use crate::doctor::plan::{Unasked, could_not};
use crate::doctor::report::Finding;
use crate::doctor::session::{CheckError, Session};
use crate::postgres::schema::{FUNCTIONS, MIGRATIONS};
use crate::postgres::{MigrateError, check as check_schema};

/// The catalogue is open to every role.
const THERE: &str =
    "SELECT count(*) = 2 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (n.nspname, c.relname) IN (('bellwether', 'event'), ('public', 'sync_operations'))";

/// What it found, and whether there is a schema at all.
pub(in crate::doctor) async fn check(session: &Session) -> Result<(Finding, bool), CheckError> {
    let there = session.row(THERE).await?.get(0);
    let version = MIGRATIONS.last().map_or(0, |last| last.version);
    let finding = match check_schema(&*session.client()?).await {
        Ok(()) => Finding::ok(format!(
            "schema version {version}: {} migrations and {} function files applied, none of them changed",
            MIGRATIONS.len(),
            FUNCTIONS.len()
        )),
        Err(error) => match advice(&error) {
            Some(advice) => Finding::failure(error.to_string(), advice),
            // The other checks want to know whether there is a schema, whoever may read these records.
            None => could_not(Unasked::Error(error.into())),
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
