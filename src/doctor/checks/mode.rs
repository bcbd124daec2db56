//! Who rings the doorbell, and may those who prepare transactions go on?

use crate::doctor::checks::some;
use crate::doctor::report::{Finding, Status};
use crate::doctor::session::{CheckError, Session};

const ASK: &str =
    "SELECT coalesce(nullif(current_setting('bellwether.doorbell', true), ''), 'adaptive'),
    current_setting('max_prepared_transactions')::bigint";

const SETTINGS: &str = "SELECT coalesce(quote_ident(r.rolname), 'every role') || coalesce(' in database ' || quote_ident(d.datname), ''),
        split_part(setting, '=', 2)
    FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase,
         unnest(s.setconfig) AS setting
    WHERE setting LIKE 'bellwether.doorbell=%' AND (s.setdatabase = 0 OR d.datname = current_database()) ORDER BY 1";

pub(in crate::doctor) async fn check(session: &Session) -> Result<Finding, CheckError> {
    let row = session.row(ASK).await?;
    let (mode, prepared): (String, i64) = (row.get(0), row.get(1));
    let settings: Vec<(String, String)> = session
        .rows(SETTINGS)
        .await?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let listed: Vec<String> = settings
        .iter()
        .map(|(who, mode)| format!("{who}: {mode}"))
        .collect();

    let mut found = format!("{mode} for this role");
    if !listed.is_empty() {
        found = format!("{found} (set for {})", some(&listed));
    }
    let mut finding = Finding::ok(found);
    let known = |mode: &str| ["never", "always", "adaptive"].contains(&mode);
    let unknown: Vec<&String> = settings
        .iter()
        .map(|(_, mode)| mode)
        .chain([&mode])
        .filter(|mode| !known(mode))
        .collect();
    if let Some(unknown) = unknown.first() {
        finding.add(
            Status::Warning,
            format!("\"{unknown}\" is no mode and counts as adaptive"),
            "set bellwether.doorbell to never, always or adaptive",
        );
    }
    if mode == "always" {
        finding.add(
            Status::Warning,
            "every commit that changes a row of ours queues for NOTIFY's lock",
            "ALTER DATABASE … RESET bellwether.doorbell, unless that is meant so",
        );
    }
    if prepared > 0 && mode != "never" {
        finding.add(
            Status::Warning,
            format!(
                "max_prepared_transactions is {prepared}, and PREPARE TRANSACTION fails after a write that rings"
            ),
            "if applications prepare transactions: ALTER ROLE … SET bellwether.doorbell = 'never' for them",
        );
    }
    Ok(finding
        .figure("mode", mode)
        .figure("max_prepared_transactions", prepared)
        .figure("settings", listed))
}
