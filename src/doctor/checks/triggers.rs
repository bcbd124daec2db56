//! Will a write be recorded? Triggers can be missing, disabled, or stood in the way of.

use std::collections::BTreeMap;

use crate::doctor::checks::some;
use crate::doctor::expected::{Enabled, Expected, Trigger};
use crate::doctor::report::{Finding, Status};
use crate::doctor::session::{CheckError, Session};

/// Names are qualified, as in the dump. The last column tells BEFORE triggers for each row.
const TRIGGERS: &str = "SELECT n.nspname || '.' || c.relname, t.tgname::text, pg_get_triggerdef(t.oid), t.tgenabled::text,
        t.tgtype & 3 = 3
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND (n.nspname = 'bellwether' OR n.nspname = 'public' AND c.relname IN
        ('sync_operations', 'sync_operation_errors', 'connection_status', 'sync_status_snapshots'))
    ORDER BY 1, 2";

/// Ordinary triggers do not fire in sessions that begin like this.
const REPLICA_ROLES: &str = "SELECT coalesce(quote_ident(r.rolname), 'every role') || coalesce(' in database ' || quote_ident(d.datname), '')
    FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase,
         unnest(s.setconfig) AS setting
    WHERE setting = 'session_replication_role=replica' AND (s.setdatabase = 0 OR d.datname = current_database())";

/// Our BEFORE triggers begin like this, so that they fire last.
const OURS: &str = "zz_bellwether";

/// A trigger that is there.
struct Found {
    trigger: Trigger,
    is_before_row: bool,
}

pub(in crate::doctor) async fn check(
    session: &Session,
    expected: &Expected,
) -> Result<Finding, CheckError> {
    let mut found = BTreeMap::new();
    for row in session.qualified_rows(TRIGGERS).await? {
        let trigger = Trigger {
            definition: row.get(2),
            enabled: Enabled::of(row.get(3)),
        };
        let is_before_row = row.get(4);
        found.insert(
            (row.get::<_, String>(0), row.get::<_, String>(1)),
            Found {
                trigger,
                is_before_row,
            },
        );
    }
    let mut finding = compare(expected, &found);
    let roles = session.rows(REPLICA_ROLES).await?;
    let roles: Vec<String> = roles.iter().map(|row| row.get(0)).collect();
    if !roles.is_empty() {
        finding.add(
            Status::Warning,
            format!(
                "session_replication_role is replica for {}: writes are recorded, but little is derived and foreign keys are not checked",
                some(&roles)
            ),
            "ALTER ROLE … RESET session_replication_role, unless it is a replication tool's",
        );
    }
    Ok(finding)
}

fn compare(expected: &Expected, found: &BTreeMap<(String, String), Found>) -> Finding {
    let (mut missing, mut changed, mut switched, mut mend) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (key, wanted) in &expected.triggers {
        let (table, name) = key;
        let label = format!("{name} on {table}");
        match found.get(key).map(|found| &found.trigger) {
            None => missing.push(label),
            Some(found) if found.definition != wanted.definition => changed.push(label),
            Some(found) if found.enabled != wanted.enabled => {
                let how = match found.enabled {
                    Enabled::Disabled => "disabled",
                    Enabled::Replica => "fires for replicated rows only",
                    Enabled::Always => "fires always",
                    Enabled::Origin => "does not fire for replicated rows",
                };
                switched.push(format!("{label} ({how})"));
                mend.push(format!(
                    "ALTER TABLE {table} {} TRIGGER {name};",
                    wanted.enabled.clause()
                ));
            }
            Some(_) => {}
        }
    }
    let late: Vec<String> = found
        .iter()
        .filter(|(key, found)| {
            found.is_before_row
                && found.trigger.enabled != Enabled::Disabled
                && !expected.triggers.contains_key(*key)
                && key.1.as_str() > OURS
        })
        .map(|((table, name), _)| format!("{name} on {table}"))
        .collect();

    let mut finding = Finding::ok(format!("{} triggers", expected.triggers.len()));
    let again = "DELETE FROM bellwether.function; then run `bellwether migrate`: it applies all functions and triggers again";
    if !missing.is_empty() {
        finding.add(
            Status::Failure,
            format!("{} missing: {}", missing.len(), some(&missing)),
            again,
        );
    }
    if !changed.is_empty() {
        finding.add(
            Status::Failure,
            format!(
                "{} not as this version has them: {}",
                changed.len(),
                some(&changed)
            ),
            again,
        );
    }
    if !switched.is_empty() {
        finding.add(
            Status::Failure,
            format!(
                "{} switched off or over: {}; what was written meanwhile is in no log",
                switched.len(),
                some(&switched)
            ),
            mend.join(" "),
        );
    }
    if !late.is_empty() {
        finding.add(
            Status::Warning,
            format!(
                "fires after ours, so that what it changes may go unrecorded: {}",
                some(&late)
            ),
            format!("give it a name that sorts before {OURS}"),
        );
    }
    finding
        .figure("expected", expected.triggers.len())
        .figure("missing", missing)
        .figure("changed", changed)
        .figure("switched", switched)
        .figure("firing_after_ours", late)
}
