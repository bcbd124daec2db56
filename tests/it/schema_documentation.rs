//! What a DBA reads: a comment on everything, and a dump that is up to date.

use std::{fs, path::Path, process::Command};

use crate::schema_probe::Probe;

#[tokio::test]
async fn everything_that_is_ours_has_a_comment() {
    let probe = Probe::new().await;
    let uncommented = "
        WITH ours (schema) AS (VALUES ('public'::regnamespace::oid), ('bellwether'::regnamespace)),
        relation AS (SELECT oid, relname, relkind, relispartition FROM pg_class WHERE relnamespace IN (SELECT schema FROM ours) AND relkind IN ('r', 'v', 'm', 'p', 'S')
                     -- The sequence of an identity column belongs to the column.
                     AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'i'))
        SELECT coalesce(string_agg(name, ', ' ORDER BY name), 'none') FROM (
            SELECT 'schema ' || schema::regnamespace FROM ours WHERE obj_description(schema, 'pg_namespace') IS NULL
            UNION ALL
            SELECT 'relation ' || oid::regclass FROM relation WHERE obj_description(oid, 'pg_class') IS NULL
            UNION ALL
            SELECT 'column ' || attrelid::regclass || '.' || attname FROM pg_attribute JOIN relation ON attrelid = oid
            WHERE relkind <> 'S' AND attnum > 0 AND NOT attisdropped AND col_description(attrelid, attnum) IS NULL
              AND NOT relispartition -- described with the table that it is a part of, like its triggers
            UNION ALL
            SELECT 'function ' || oid::regprocedure FROM pg_proc
            WHERE pronamespace IN (SELECT schema FROM ours) AND obj_description(oid, 'pg_proc') IS NULL
            UNION ALL
            SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass FROM pg_trigger JOIN relation ON tgrelid = relation.oid
            WHERE NOT tgisinternal AND tgparentid = 0 AND obj_description(pg_trigger.oid, 'pg_trigger') IS NULL
        ) AS uncommented (name)";
    assert_eq!(probe.text(uncommented).await, "none");
}

#[tokio::test]
async fn no_name_was_cut_off_and_every_rule_is_named_after_its_table() {
    let probe = Probe::new().await;
    let odd = "SELECT coalesce(string_agg(conname, ', '), 'none') FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'u', 'p', 'f')
          AND (length(conname) >= 63 OR NOT starts_with(conname, conrelid::regclass::text || '_') OR conname ~ '_(check|fkey|key)[0-9]*$')";
    assert_eq!(probe.text(odd).await, "none");
    let cut_off = "SELECT coalesce(string_agg(name, ', '), 'none') FROM (
        SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'bellwether'::regnamespace
    ) AS t (name) WHERE length(name) >= 63";
    assert_eq!(probe.text(cut_off).await, "none");
}

#[tokio::test]
async fn the_dump_of_the_schema_is_up_to_date() {
    let probe = Probe::new().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("scripts/dump-schema"))
        .arg(probe.database.url())
        .env("PG_DUMP", probe.client_program("pg_dump").await)
        .output()
        .expect("scripts/dump-schema");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let fresh = String::from_utf8(output.stdout).expect("UTF-8");
    let committed = fs::read_to_string(root.join("sql/schema.sql")).expect("sql/schema.sql");
    let lines = |text: &str| {
        text.trim_end()
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (fresh, committed) = (lines(&fresh), lines(&committed));
    let different =
        (0..fresh.len().max(committed.len())).find(|&n| fresh.get(n) != committed.get(n));
    if let Some(n) = different {
        let line = |lines: &[String]| lines.get(n).map_or("(the end)".to_owned(), String::clone);
        panic!(
            "sql/schema.sql is out of date: run scripts/dump-schema. Line {} is\n{}\nbut would be\n{}",
            n + 1,
            line(&committed),
            line(&fresh)
        );
    }
}
