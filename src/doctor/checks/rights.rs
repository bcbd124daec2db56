//! May the role that we connect as do what the relay does? And may the owner of the triggers write the log?

use crate::doctor::checks::some;
use crate::doctor::report::{Finding, Status};
use crate::doctor::session::{CheckError, Session};

/// Every right that `serve` uses and this role lacks, as the GRANT would name it. A relation or function that is not
/// there is told by other checks.
const LACKING: &str = "
    WITH relation (name, rights) AS (VALUES
        ('bellwether.event', 'SELECT, DELETE'), ('bellwether.log', 'SELECT, UPDATE'),
        ('bellwether.timeline', 'SELECT, INSERT'), ('bellwether.relay', 'SELECT, INSERT, UPDATE, DELETE'),
        ('bellwether.stalled_operation', 'SELECT'),
        ('bellwether.migration', 'SELECT'), ('bellwether.function', 'SELECT'),
        ('public.sync_operations', 'SELECT'), ('public.sync_operation_errors', 'SELECT'),
        ('public.connection_status', 'SELECT, INSERT, UPDATE, DELETE'),
        ('public.sync_status_snapshots', 'SELECT, INSERT, DELETE')
    ), sequence (name, rights) AS (VALUES ('bellwether.lease', 'SELECT'), ('bellwether.event_slot', 'SELECT'), ('bellwether.event_id', 'SELECT')),
    routine (name) AS (VALUES ('promise_to_look'), ('mark_stalled'), ('trim_log'), ('summarize_event_index'),
                              ('row_in_utc'))
    SELECT r || ' ON ' || name FROM relation, regexp_split_to_table(rights, ', ') AS r
    WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name), r)
    UNION ALL
    SELECT r || ' ON SEQUENCE ' || name FROM sequence, regexp_split_to_table(rights, ', ') AS r
    WHERE to_regclass(name) IS NOT NULL AND NOT has_sequence_privilege(to_regclass(name), r)
    UNION ALL
    SELECT 'EXECUTE ON FUNCTION ' || p.oid::regprocedure FROM routine JOIN pg_proc p ON p.proname = routine.name
    WHERE p.pronamespace = to_regnamespace('bellwether') AND NOT has_function_privilege(p.oid, 'EXECUTE')
    UNION ALL
    SELECT 'USAGE ON SCHEMA bellwether' WHERE NOT has_schema_privilege('bellwether', 'USAGE')";

/// Functions with the rights of their owner, where the owner may not write the log: then no write works at all.
const POWERLESS_OWNERS: &str =
    "SELECT p.oid::regprocedure || ' of ' || quote_ident(pg_get_userbyid(p.proowner))
    FROM pg_proc p WHERE p.pronamespace = to_regnamespace('bellwether') AND p.prosecdef
    AND NOT (has_schema_privilege(p.proowner, 'bellwether', 'USAGE')
             AND has_table_privilege(p.proowner, 'bellwether.event', 'INSERT')
             AND has_sequence_privilege(p.proowner, 'bellwether.lease', 'SELECT')
             AND has_sequence_privilege(p.proowner, 'bellwether.event_slot', 'SELECT')
             AND has_sequence_privilege(p.proowner, 'bellwether.event_id', 'USAGE'))";

const OWNER: &str = "SELECT current_user::text, bool_and(pg_has_role(c.relowner, 'USAGE')),
        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    FROM pg_class c WHERE c.oid IN ('bellwether.event'::regclass, 'public.sync_operations'::regclass)";

pub(in crate::doctor) async fn check(session: &Session) -> Result<Finding, CheckError> {
    let owner = session.row(OWNER).await?;
    let (role, owns, superuser): (String, bool, bool) = (owner.get(0), owner.get(1), owner.get(2));
    let texts = async |statement| -> Result<Vec<String>, CheckError> {
        let rows = session.rows(statement).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    let lacking = texts(LACKING).await?;
    let powerless = texts(POWERLESS_OWNERS).await?;

    let who = if superuser {
        "a superuser"
    } else {
        "no superuser"
    };
    let mut finding = Finding::ok(format!(
        "role {role} ({who}) may {}",
        if owns {
            "serve and migrate"
        } else {
            "serve, and leaves migrating to the role that owns the tables"
        }
    ));
    if !lacking.is_empty() {
        finding.add(
            Status::Failure,
            format!("it lacks {} rights: {}", lacking.len(), some(&lacking)),
            format!(
                "serve as the role that migrated, or: GRANT {} TO {role}",
                lacking.join(&format!(" TO {role}; GRANT "))
            ),
        );
    }
    if !powerless.is_empty() {
        finding.add(
            Status::Failure,
            format!(
                "no write can be recorded, since the owner may not write the log: {}",
                some(&powerless)
            ),
            "ALTER FUNCTION … OWNER TO the owner of bellwether.event",
        );
    }
    Ok(finding
        .figure("role", role)
        .figure("superuser", superuser)
        .figure("owner", owns)
        .figure("lacking", lacking))
}
