//! Does the server keep what it has committed?

use crate::doctor::report::{Finding, Status};
use crate::doctor::session::{CheckError, Session};

const ASK: &str = "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')";

pub(in crate::doctor) async fn check(session: &Session) -> Result<Finding, CheckError> {
    let row = session.row(ASK).await?;
    let (fsync, pages, commit): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    let mut finding = Finding::ok(format!(
        "fsync {fsync}, full_page_writes {pages}, synchronous_commit {commit}"
    ));
    if fsync == "off" {
        finding.add(
            Status::Warning,
            "a power cut may lose or damage anything, events that subscribers have seen included",
            "ALTER SYSTEM SET fsync = on",
        );
    }
    if pages == "off" {
        finding.add(
            Status::Warning,
            "a power cut in the middle of a page damages it",
            "ALTER SYSTEM SET full_page_writes = on, unless the file system never tears a page",
        );
    }
    if commit == "off" {
        finding.add(
            Status::Warning,
            "a crash may lose the newest commits; subscribers see a change once it is durable, up to wal_writer_delay later",
            "ALTER SYSTEM SET synchronous_commit = on (or ALTER ROLE, ALTER DATABASE, where it is set), unless that is meant so",
        );
    }
    Ok(finding
        .figure("fsync", fsync)
        .figure("full_page_writes", pages)
        .figure("synchronous_commit", commit))
}
