//! Is this a PostgreSQL that the schema works on?

use crate::doctor::report::Finding;
use crate::doctor::session::{CheckError, Session};
use crate::postgres::schema::{NEWEST_SERVER, OLDEST_SERVER};

const ASK: &str =
    "SELECT current_setting('server_version'), current_setting('server_version_num')::integer";

/// From these on, a trigger that fires once a statement sees what a MERGE has written beside another change of the same
/// table in one statement.
const MERGE_IS_SEEN: [i32; 4] = [150_016, 160_012, 170_008, 180_002];

pub(in crate::doctor) async fn check(session: &Session) -> Result<Finding, CheckError> {
    let row = session.row(ASK).await?;
    let (version, number): (String, i32) = (row.get(0), row.get(1));
    let major = number / 10_000;
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
    } else if hides_a_merge(number) {
        Finding::warning(
            format!(
                "{found}: what a MERGE writes beside another change of sync_operations in one statement (WITH … UPDATE … MERGE) is in no log"
            ),
            "use the newest minor version: this is mended in 15.16, 16.12, 17.8 and 18.2",
        )
    } else {
        Finding::ok(found)
    };
    Ok(finding.figure("version", version).figure("major", major))
}

/// Whether the server, whose `server_version_num` this is, does not show such a MERGE to triggers.
fn hides_a_merge(number: i32) -> bool {
    MERGE_IS_SEEN
        .iter()
        .any(|mended| mended / 10_000 == number / 10_000 && number < *mended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minor_version_that_hides_a_merge_is_told_from_one_that_does_not() {
        for number in [150_000, 150_015, 160_011, 170_007, 180_001] {
            assert!(hides_a_merge(number), "{number}");
        }
        for number in [150_016, 160_012, 170_008, 180_002, 190_000] {
            assert!(!hides_a_merge(number), "{number}");
        }
    }
}
