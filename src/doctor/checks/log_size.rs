//! How large is the event log, and how much of it is air?

use crate::doctor::checks::bytes;
use crate::doctor::report::Finding;
use crate::doctor::session::{CheckError, Session};

/// The log and its slots. Row counts are the statistics' estimates.
const ASK: &str = "WITH part AS (
        SELECT 'bellwether.event'::regclass::oid AS oid UNION SELECT relid FROM pg_partition_tree('bellwether.event')
    )
    SELECT sum(pg_table_size(c.oid))::bigint, sum(pg_indexes_size(c.oid))::bigint,
           sum(CASE WHEN c.relkind = 'r' THEN greatest(pg_stat_get_live_tuples(c.oid), 0) ELSE 0 END)::bigint,
           sum(CASE WHEN c.relkind = 'r' THEN pg_stat_get_dead_tuples(c.oid) ELSE 0 END)::bigint,
           extract(epoch FROM clock_timestamp() - max(greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid))))::double precision
    FROM part JOIN pg_class c USING (oid)";

/// Fewer dead rows than this are not worth a word.
const MANY_DEAD: i64 = 100_000;

pub(in crate::doctor) async fn check(
    session: &Session,
    keep_bytes: u64,
) -> Result<Finding, CheckError> {
    let row = session.row(ASK).await?;
    let (table, indexes, live, dead): (i64, i64, i64, i64) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    let vacuumed: Option<f64> = row.get(4);
    let mut found = format!(
        "{} of rows and {} of indexes, about {live} events",
        bytes(table),
        bytes(indexes)
    );
    if live > 0 {
        found = format!("{found} ({} each)", bytes((table + indexes) / live));
    }
    let total = u64::try_from(table + indexes).unwrap_or_default();
    let finding = if total > keep_bytes.saturating_add(keep_bytes / 4) {
        Finding::warning(
            format!("{found}; more than --keep-events-bytes"),
            "let a relay run (it trims every minute); if one does: see writing transactions, and its log for failed jobs",
        )
    } else if dead > MANY_DEAD && dead > live / 2 {
        Finding::warning(
            format!("{found}; {dead} deleted ones still take room"),
            "let autovacuum keep up (see vacuum); new events fill the room that it frees, VACUUM FULL would lock out writers",
        )
    } else {
        Finding::ok(found)
    };
    Ok(finding
        .figure("table_bytes", table)
        .figure("index_bytes", indexes)
        .figure("live_rows", live)
        .figure("dead_rows", dead)
        .figure("vacuumed_seconds_ago", vacuumed))
}
