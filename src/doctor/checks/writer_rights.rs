//! May a given role write what applications write?

use tokio_postgres::types::Type;

use crate::doctor::checks::some;
use crate::doctor::report::{Finding, Status};
use crate::doctor::session::{CheckError, Session};

const ROLE: &str = "SELECT count(*) > 0 FROM pg_roles WHERE rolname = $1";

/// Rights on single columns count: an application may need no more.
const LACKING: &str = "SELECT r || ' ON public.' || t FROM
    unnest(ARRAY['sync_operations', 'sync_operation_errors', 'connection_status']) AS t, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS r
    WHERE to_regclass('public.' || t) IS NOT NULL AND NOT has_any_column_privilege($1::name, to_regclass('public.' || t), r)
    UNION ALL
    SELECT 'USAGE ON SCHEMA bellwether' WHERE NOT has_schema_privilege($1::name, 'bellwether', 'USAGE')
    UNION ALL
    SELECT 'USAGE ON SEQUENCE bellwether.event_id' WHERE NOT has_sequence_privilege($1::name, 'bellwether.event_id', 'USAGE')
    UNION ALL
    SELECT 'USAGE ON SCHEMA public' WHERE NOT has_schema_privilege($1::name, 'public', 'USAGE')
    UNION ALL
    SELECT 'CONNECT ON DATABASE ' || quote_ident(current_database()) WHERE NOT has_database_privilege($1::name, current_database(), 'CONNECT')";

/// Nobody who only writes needs these, and with them one can write what one likes into the log.
const EXCESSIVE: &str = "SELECT r || ' ON bellwether.event' FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS r
    WHERE has_table_privilege($1::name, 'bellwether.event', r)";

pub(in crate::doctor) async fn check(session: &Session, role: &str) -> Result<Finding, CheckError> {
    let parameter: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] = &[(&role, Type::TEXT)];
    if !session.row_with(ROLE, parameter).await?.get::<_, bool>(0) {
        return Ok(Finding::failure(
            format!("there is no role {role}"),
            "name one that exists (\\du lists them)",
        ));
    }
    let texts = async |statement| -> Result<Vec<String>, CheckError> {
        let client = session.client()?;
        let rows = client.query_typed(statement, parameter).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    let lacking = texts(LACKING).await?;
    let excessive = texts(EXCESSIVE).await?;

    let grant = || {
        format!(
            "GRANT {} TO {role}",
            lacking.join(&format!(" TO {role}; GRANT "))
        )
    };
    let mut finding = Finding::ok(format!("role {role} may write the tables of applications"));
    if !lacking.is_empty() {
        finding = Finding::ok(format!("role {role}"));
        // An application may need no more than some of the tables, but not less than operations.
        let is_vital = |right: &String| {
            !right.ends_with("_errors")
                && !right.ends_with("connection_status")
                && !right.starts_with("SELECT")
        };
        let (status, what) = if lacking.iter().any(is_vital) {
            (Status::Failure, "it cannot report operations")
        } else {
            (Status::Warning, "it cannot write everything")
        };
        finding.add(
            status,
            format!("{what}: it lacks {}", some(&lacking)),
            grant(),
        );
    }
    if !excessive.is_empty() {
        finding.add(
            Status::Warning,
            format!("it may change the event log itself: {}", some(&excessive)),
            format!("let applications write as a role that owns nothing in schema bellwether; not as {role}"),
        );
    }
    Ok(finding
        .figure("role", role)
        .figure("lacking", lacking)
        .figure("excessive", excessive))
}
