//! The SQL files that this binary carries, and the order in which they are applied.
//!
//! A migration is applied once and never edited afterwards. A function or trigger lives in a file of its own that may
//! be edited and is then applied again. A new file gets a line in one of the two lists below; a test sees to it.

use sha2::{Digest, Sha256};

/// The oldest major version of PostgreSQL that has what the schema uses.
pub const OLDEST_SERVER: i32 = 15;

/// The newest major version of PostgreSQL that all tests have been run with.
pub const NEWEST_SERVER: i32 = 18;

/// A change of the tables, applied once.
#[derive(Debug)]
pub struct Migration {
    /// Its number: 1, 2, 3 and so on, without a gap.
    pub version: i32,
    /// The file's name without its folder and ending, for example `0001_event_log`.
    pub name: &'static str,
    /// The statements.
    pub sql: &'static str,
}

/// A function or trigger, applied again whenever its file has changed.
#[derive(Debug)]
pub struct Function {
    /// The file's name without its folder and ending, for example `ring`.
    pub name: &'static str,
    /// The statements; they replace what is there.
    pub sql: &'static str,
}

macro_rules! migration {
    ($version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../sql/migrations/", $name, ".sql")),
        }
    };
}

macro_rules! function {
    ($name:literal) => {
        Function {
            name: $name,
            sql: include_str!(concat!("../../sql/functions/", $name, ".sql")),
        }
    };
}

/// All migrations, by version.
pub const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001_event_log"),
    migration!(2, "0002_user_tables"),
    migration!(3, "0003_timeline_index"),
];

/// All functions and triggers; each one after those that it names.
pub const FUNCTIONS: &[Function] = &[
    function!("ring"),
    function!("promise_to_look"),
    function!("keep_revision"),
    function!("keep_replicated_revision"),
    function!("smoothed_rate"),
    function!("seconds_left"),
    function!("refuse_implausible_progress"),
    function!("changed_from"),
    function!("inserts_wake_others"),
    function!("derive_sync_operation"),
    function!("derive_replicated_sync_operation"),
    function!("refuse_implausible_operation"),
    function!("refuse_unknown_status"),
    function!("refuse_negative_items"),
    function!("derive_connection_status"),
    function!("row_in_utc"),
    function!("sync_operations_is_as_made"),
    function!("operation_event"),
    function!("capture_inserted_operations"),
    function!("capture_updated_operations"),
    function!("capture_sync_operation"),
    function!("describe_error"),
    function!("capture_sync_operation_error"),
    function!("capture_connection_status"),
    function!("capture_sync_status_snapshot"),
    function!("capture_truncate"),
    function!("capture_moved_row"),
    function!("ignore_replicated_row"),
    function!("remove_replicated_event"),
    function!("note_replicated_truncate"),
    function!("create_sync_operation"),
    function!("update_sync_progress"),
    function!("complete_sync_operation"),
    function!("record_sync_error"),
    function!("report_connection"),
    function!("mark_stalled"),
    function!("trim_log"),
    function!("summarize_event_index"),
    function!("sync_health_status"),
    function!("sync_health_score"),
    function!("create_sync_status_snapshot"),
    function!("sync_statistics"),
];

/// What the migrator keeps its own records in.
pub(super) const BOOTSTRAP: &str = "
CREATE SCHEMA IF NOT EXISTS bellwether;
COMMENT ON SCHEMA bellwether IS
    'Everything that is the relay''s own. Tables that applications write are in schema public.';

CREATE TABLE bellwether.migration (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE bellwether.migration IS 'The migrations that have been applied. Written by bellwether migrate only.';
COMMENT ON COLUMN bellwether.migration.version IS 'The number that the file''s name begins with.';
COMMENT ON COLUMN bellwether.migration.name IS 'The file''s name without its ending.';
COMMENT ON COLUMN bellwether.migration.checksum IS
    'SHA-256 of the file with Unix line ends, in hexadecimal. A migration that was edited after it was applied is refused.';
COMMENT ON COLUMN bellwether.migration.applied_at IS 'When it was applied.';

CREATE TABLE bellwether.function (
    name       text        PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_by text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE bellwether.function IS
    'The files with functions and triggers as they were last applied. Written by bellwether migrate only.';
COMMENT ON COLUMN bellwether.function.name IS 'The file''s name without its ending.';
COMMENT ON COLUMN bellwether.function.checksum IS
    'SHA-256 of the file with Unix line ends, in hexadecimal; empty when it must be applied again because a migration came after it.';
COMMENT ON COLUMN bellwether.function.applied_by IS
    'The version of bellwether that applied it. An older one does not put its own text in place of it.';
COMMENT ON COLUMN bellwether.function.applied_at IS 'When it was applied.';
";

impl Migration {
    /// What `bellwether.migration.checksum` should be.
    pub fn checksum(&self) -> String {
        checksum(self.sql)
    }
}

impl Function {
    /// What `bellwether.function.checksum` should be.
    pub fn checksum(&self) -> String {
        checksum(self.sql)
    }
}

/// The same on every platform, whatever line ends a checkout has.
fn checksum(sql: &str) -> String {
    format!("{:x}", Sha256::digest(sql.replace("\r\n", "\n")))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn files(folder: &str) -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("sql")
            .join(folder);
        fs::read_dir(folder)
            .expect("a folder of SQL files")
            .map(|entry| entry.expect("a folder entry").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "sql"))
            .map(|path| {
                path.file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    }

    #[test]
    fn every_migration_file_is_listed_under_its_own_number() {
        let listed: BTreeSet<String> = MIGRATIONS.iter().map(|m| m.name.to_owned()).collect();
        assert_eq!(listed, files("migrations"));
        for (migration, version) in MIGRATIONS.iter().zip(1..) {
            assert_eq!(migration.version, version);
            assert!(
                migration.name.starts_with(&format!("{version:04}_")),
                "{}",
                migration.name
            );
        }
    }

    #[test]
    fn every_function_file_is_listed_once() {
        let listed: BTreeSet<String> = FUNCTIONS.iter().map(|f| f.name.to_owned()).collect();
        assert_eq!(listed, files("functions"));
        assert_eq!(listed.len(), FUNCTIONS.len());
    }

    #[test]
    fn a_checksum_does_not_depend_on_line_ends() {
        assert_eq!(
            checksum("SELECT 1;\r\nSELECT 2;\r\n"),
            checksum("SELECT 1;\nSELECT 2;\n")
        );
        assert_ne!(checksum("SELECT 1;"), checksum("SELECT 2;"));
    }
}
