//! Will the room of old rows be used again? Progress reports and the log's tail leave dead rows behind.

use crate::doctor::checks::some;
use crate::doctor::report::{Finding, Status};
use crate::doctor::session::{CheckError, Session};

const SETTINGS: &str =
    "SELECT current_setting('autovacuum') = 'on' AND current_setting('track_counts') = 'on'";

const SWITCHED_OFF: &str = "SELECT n.nspname || '.' || c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_options_to_table(c.reloptions) o
    WHERE o.option_name = 'autovacuum_enabled' AND NOT o.option_value::boolean AND c.relkind = 'r'
      AND (n.nspname = 'bellwether' OR n.nspname = 'public' AND c.relname IN
           ('sync_operations', 'sync_operation_errors', 'connection_status', 'sync_status_snapshots'))";

/// Whoever may still see rows that were deleted this many transactions ago.
const HOLDERS: &str = "SELECT who, age FROM (
        SELECT 'process ' || pid || ' (' || coalesce(nullif(application_name, ''), backend_type, 'unnamed') || ')', age(backend_xmin)
        FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
        UNION ALL
        SELECT 'replication slot ' || slot_name || CASE WHEN active THEN '' ELSE ' (not in use)' END, age(xmin)
        FROM pg_replication_slots WHERE xmin IS NOT NULL
        UNION ALL
        SELECT 'prepared transaction ' || quote_literal(gid), age(transaction) FROM pg_prepared_xacts
    ) AS holder (who, age) ORDER BY age DESC LIMIT 1";

/// In transactions.
const LONG_AGO: i32 = 1_000_000;

pub(in crate::doctor) async fn check(session: &Session) -> Result<Finding, CheckError> {
    let on: bool = session.row(SETTINGS).await?.get(0);
    let off = session.rows(SWITCHED_OFF).await?;
    let off: Vec<String> = off.iter().map(|row| row.get(0)).collect();
    let holders = session.rows(HOLDERS).await?;
    let holder: Option<(String, i32)> = holders.first().map(|row| (row.get(0), row.get(1)));

    let mut finding = Finding::ok(if on {
        "autovacuum is on"
    } else {
        "autovacuum is off"
    });
    if !on {
        finding.add(
            Status::Warning,
            "the tables grow with every change, and so does the log",
            "ALTER SYSTEM SET autovacuum = on (and track_counts = on)",
        );
    }
    if !off.is_empty() {
        finding.add(
            Status::Warning,
            format!("it is switched off for {}", some(&off)),
            format!(
                "ALTER TABLE {} RESET (autovacuum_enabled)",
                off.join(" RESET (autovacuum_enabled); ALTER TABLE ")
            ),
        );
    }
    if let Some((who, age)) = holder.as_ref().filter(|(_, age)| *age > LONG_AGO) {
        finding.add(
            Status::Warning,
            format!(
                "{who} keeps rows that were deleted {age} transactions ago from being cleaned up"
            ),
            "end that transaction, or drop the slot if nobody needs it",
        );
    }
    Ok(finding
        .figure("autovacuum", on)
        .figure("switched_off", off)
        .figure("oldest_horizon_transactions", holder.map(|(_, age)| age)))
}
