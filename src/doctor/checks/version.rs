//! Is this a PostgreSQL that the schema works on?

use crate::doctor::report::Finding;
use crate::doctor::session::{CheckError, Session};
use crate::postgres::schema::{NEWEST_SERVER, OLDEST_SERVER};

const ASK: &str = "SELECT current_setting('server_version'), current_setting('server_version_num')::integer / 10000";

pub(in crate::doctor) async fn check(session: &Session) -> Result<Finding, CheckError> {
    let row = session.row(ASK).await?;
    let (version, major): (String, i32) = (row.get(0), row.get(1));
    let found = format!("PostgreSQL {version}");
    let finding = if major < OLDEST_SERVER {
        Finding::failure(
            found,
            format!("use PostgreSQL {OLDEST_SERVER} to {NEWEST_SERVER}"),
        )
    } else if major > NEWEST_SERVER {
        Finding::warning(
            found,
            format!(
                "this version of bellwether is tested with {OLDEST_SERVER} to {NEWEST_SERVER}; look for a newer one"
            ),
        )
    } else {
        Finding::ok(found)
    };
    Ok(finding.figure("version", version).figure("major", major))
}
