//! Are the tables and indexes there, and are they kept safe?

use std::collections::BTreeMap;

use crate::doctor::checks::some;
use crate::doctor::expected::Expected;
use crate::doctor::report::{Finding, Status};
use crate::doctor::session::{CheckError, Session};

/// Unlogged relations are emptied by a crash; rows of a child table are its own triggers' affair, and a statement that names
/// the parent fires none of the child's that fire once a statement.
const ASK: &str = "SELECT n.nspname || '.' || c.relname, c.relpersistence = 'u',
        NOT coalesce(i.indisvalid AND i.indisready, true),
        c.relrowsecurity, coalesce((SELECT count(*) FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent
                                    WHERE h.inhparent = c.oid AND p.relkind = 'r'), 0),
        EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index i ON i.indexrelid = c.oid
    WHERE n.nspname IN ('bellwether', 'public') AND c.relkind IN ('r', 'p', 'i', 'I', 'S')";

pub(in crate::doctor) async fn check(
    session: &Session,
    expected: &Expected,
) -> Result<Finding, CheckError> {
    let rows = session.rows(ASK).await?;
    let there: BTreeMap<String, &tokio_postgres::Row> =
        rows.iter().map(|row| (row.get(0), row)).collect();
    let relations = || expected.tables.iter().chain(&expected.sequences);
    let is = |name: &String, column: usize| {
        there
            .get(name)
            .is_some_and(|row| row.get::<_, bool>(column))
    };

    let lacking = |names: &mut dyn Iterator<Item = &String>| -> Vec<String> {
        names
            .filter(|name| !there.contains_key(*name))
            .cloned()
            .collect()
    };
    let missing = lacking(&mut relations());
    let no_index = lacking(&mut expected.indexes.keys());
    let those = |names: &mut dyn Iterator<Item = &String>, column| -> Vec<String> {
        names.filter(|name| is(name, column)).cloned().collect()
    };
    let unlogged = those(&mut relations(), 1);
    let invalid = those(&mut expected.indexes.keys(), 2);
    let secured = those(&mut expected.tables.iter(), 3);
    let is_ours = |name: &&String| name.starts_with("public.");
    let children: Vec<String> = those(&mut expected.tables.iter().filter(is_ours), 5);
    let has_children =
        |name: &&String| there.get(*name).is_some_and(|row| row.get::<_, i64>(4) > 0);
    let parents: Vec<String> = expected
        .tables
        .iter()
        .filter(is_ours)
        .filter(has_children)
        .cloned()
        .collect();

    let mut finding = Finding::ok(format!(
        "{} tables, {} sequences, {} indexes",
        expected.tables.len(),
        expected.sequences.len(),
        expected.indexes.len()
    ));
    if !missing.is_empty() {
        finding.add(
            Status::Failure,
            format!("missing: {}", some(&missing)),
            "restore them from a backup, or from the statements in sql/schema.sql",
        );
    }
    if !unlogged.is_empty() {
        finding.add(
            Status::Failure,
            format!(
                "unlogged, so that a crash empties them: {}",
                some(&unlogged)
            ),
            format!(
                "ALTER TABLE {} SET LOGGED (one by one)",
                unlogged.join(", ")
            ),
        );
    }
    if !no_index.is_empty() {
        finding.add(
            Status::Warning,
            format!("indexes missing: {}", some(&no_index)),
            "create them as in sql/schema.sql, with CREATE INDEX CONCURRENTLY; without them each look reads the whole table",
        );
    }
    if !invalid.is_empty() {
        finding.add(
            Status::Warning,
            format!("indexes that cannot be used: {}", some(&invalid)),
            format!(
                "REINDEX INDEX CONCURRENTLY {} (one by one)",
                invalid.join(", ")
            ),
        );
    }
    if !secured.is_empty() {
        finding.add(
            Status::Warning,
            format!(
                "row level security on {}: the relay sees only what its role may see",
                some(&secured)
            ),
            "give the relay's role BYPASSRLS, or a policy that lets it see everything",
        );
    }
    if !children.is_empty() {
        finding.add(
            Status::Failure,
            format!(
                "made a child or a partition of another table: {}; what is written to that one is not recorded",
                some(&children)
            ),
            format!(
                "ALTER TABLE {} NO INHERIT (or DETACH PARTITION)",
                children.join(", ")
            ),
        );
    }
    if !parents.is_empty() {
        finding.add(
            Status::Warning,
            format!(
                "rows written to child tables of {} are not recorded",
                some(&parents)
            ),
            "write to the table itself",
        );
    }
    Ok(finding
        .figure("missing", missing)
        .figure("missing_indexes", no_index)
        .figure("invalid_indexes", invalid)
        .figure("unlogged", unlogged)
        .figure("row_level_security", secured))
}
