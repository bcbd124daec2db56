//! Compares a database with the files that this binary carries. Reads only.

use std::fmt;

use tokio_postgres::GenericClient;

use super::{MigrateError, VERSION};
use crate::postgres::schema::{FUNCTIONS, MIGRATIONS, OLDEST_SERVER};

const READING: &str = "reading what has been applied";

/// What is to be applied to a database that this binary may migrate.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// Whether the migrator's own tables are to be created.
    pub(super) bootstrap: bool,
    /// Migrations that were never applied, by name.
    pub(super) migrations: Vec<&'static str>,
    /// Functions that were never applied, or with other contents.
    pub(super) functions: Vec<&'static str>,
}

/// Refuses servers that cannot carry the schema.
pub(super) async fn refuse_server(client: &impl GenericClient) -> Result<(), MigrateError> {
    let row = client
        .query_one(
            "SELECT pg_catalog.current_setting('server_version_num')::integer / 10000,
                    pg_catalog.current_setting('server_version'), pg_catalog.pg_is_in_recovery()",
            &[],
        )
        .await
        .map_err(|source| MigrateError::failed("reading the server's version", source))?;
    let (major, found, standby): (i32, String, bool) = (row.get(0), row.get(1), row.get(2));
    if major < OLDEST_SERVER {
        return Err(MigrateError::ServerTooOld { found });
    }
    if standby {
        return Err(MigrateError::Standby);
    }
    Ok(())
}

impl Missing {
    /// Finds out, and refuses a database that a newer binary or an edited file has made.
    pub(super) async fn read(client: &impl GenericClient) -> Result<Self, MigrateError> {
        let failed = |source| MigrateError::failed(READING, source);
        // The catalogue itself and not to_regclass(): that may still answer from what this session had looked up before it
        // waited for another migrator.
        let bootstrapped: bool = client
            .query_one(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_class
                    JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
                    WHERE nspname = 'bellwether' AND relname = 'function')",
                &[],
            )
            .await
            .map_err(failed)?
            .get(0);
        if !bootstrapped {
            return Ok(Self {
                bootstrap: true,
                migrations: MIGRATIONS.iter().map(|migration| migration.name).collect(),
                functions: FUNCTIONS.iter().map(|function| function.name).collect(),
            });
        }
        Ok(Self {
            bootstrap: false,
            migrations: missing_migrations(client).await?,
            functions: missing_functions(client).await?,
        })
    }

    /// Whether the schema is exactly what this binary needs.
    pub(super) fn is_empty(&self) -> bool {
        !self.bootstrap && self.migrations.is_empty() && self.functions.is_empty()
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bootstrap {
            return f.write_str("schema bellwether");
        }
        let mut separator = "";
        if !self.migrations.is_empty() {
            write!(f, "migrations {}", self.migrations.join(", "))?;
            separator = "; ";
        }
        if !self.functions.is_empty() {
            write!(f, "{separator}functions {}", self.functions.join(", "))?;
        }
        Ok(())
    }
}

async fn missing_migrations(
    client: &impl GenericClient,
) -> Result<Vec<&'static str>, MigrateError> {
    let rows = client
        .query(
            "SELECT version, name, checksum FROM bellwether.migration ORDER BY version",
            &[],
        )
        .await
        .map_err(|source| MigrateError::failed(READING, source))?;
    let mut missing: Vec<_> = MIGRATIONS.iter().collect();
    for row in rows {
        let (version, name, applied): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
        let Some(at) = missing
            .iter()
            .position(|migration| migration.version == version)
        else {
            return Err(MigrateError::DatabaseNewer {
                found: format!("migration {name}"),
            });
        };
        let known = missing.remove(at);
        let expected = known.checksum();
        if applied != expected {
            return Err(MigrateError::ChecksumDiffers {
                name: known.name,
                applied,
                expected,
            });
        }
    }
    Ok(missing
        .into_iter()
        .map(|migration| migration.name)
        .collect())
}

async fn missing_functions(client: &impl GenericClient) -> Result<Vec<&'static str>, MigrateError> {
    let rows = client
        .query(
            "SELECT name, checksum, applied_by FROM bellwether.function",
            &[],
        )
        .await
        .map_err(|source| MigrateError::failed(READING, source))?;
    let mut missing: Vec<_> = FUNCTIONS.iter().collect();
    for row in rows {
        let (name, applied, by): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let known = missing.iter().position(|function| function.name == name);
        match known {
            Some(at) if missing[at].checksum() == applied => drop(missing.remove(at)),
            _ if is_newer(&by, VERSION) => {
                return Err(MigrateError::DatabaseNewer {
                    found: format!("function {name} of bellwether {by}"),
                });
            }
            _ => {}
        }
    }
    Ok(missing.into_iter().map(|function| function.name).collect())
}

/// Compares two versions such as `1.10.0`, number by number.
fn is_newer(version: &str, than: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(['.', '-', '+'])
            .map_while(|part| part.parse().ok())
            .collect()
    };
    numbers(version) > numbers(than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_newer("0.10.0", "0.9.3"));
        assert!(!is_newer("0.9.3", "0.9.3"));
        assert!(!is_newer("0.9.3", "1.0.0-rc.1"));
    }
}
