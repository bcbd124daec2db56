//! Are the functions there, and are they ours? Somebody may have replaced one by hand.

use std::collections::BTreeMap;

use crate::doctor::checks::some;
use crate::doctor::expected::{Expected, Function, bare, setting};
use crate::doctor::report::{Finding, Status};
use crate::doctor::session::{CheckError, Session};

const ASK: &str = "SELECT n.nspname || '.' || p.proname, coalesce(p.prosrc, ''), p.prosecdef, p.proconfig,
        NOT EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) WHERE grantee = 0),
        pg_get_function_sqlbody(p.oid)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('bellwether', 'public') AND p.prokind = 'f'";

/// What a function of the name is like; several may share it.
#[derive(Debug)]
struct Found {
    function: Function,
    is_private: bool,
}

pub(in crate::doctor) async fn check(
    session: &Session,
    expected: &Expected,
) -> Result<Finding, CheckError> {
    let mut found: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for row in session.qualified_rows(ASK).await? {
        let settings: Option<Vec<String>> = row.get(3);
        let settings = settings.unwrap_or_default();
        let settings = settings.iter().filter_map(|text| {
            let (name, value) = text.split_once('=')?;
            Some(setting(name, value))
        });
        let function = Function {
            body: match row.get::<_, Option<&str>>(5) {
                Some(tree) => bare(tree),
                None => row.get::<_, String>(1).replace("\r\n", "\n"),
            },
            is_security_definer: row.get(2),
            settings: settings.collect(),
        };
        let is_private = row.get(4);
        found.entry(row.get(0)).or_default().push(Found {
            function,
            is_private,
        });
    }
    Ok(compare(expected, &found))
}

fn compare(expected: &Expected, found: &BTreeMap<String, Vec<Found>>) -> Finding {
    let (mut missing, mut changed, mut open) = (Vec::new(), Vec::new(), Vec::new());
    for (name, wanted) in &expected.functions {
        let Some(candidates) = found.get(name) else {
            missing.push(name.clone());
            continue;
        };
        match candidates.iter().find(|found| found.function == *wanted) {
            None => changed.push(name.clone()),
            // With the right to execute it anybody could attach it to a table of his own, and write into the log.
            Some(found) if wanted.is_security_definer && !found.is_private => {
                open.push(name.clone());
            }
            Some(_) => {}
        }
    }
    let mut finding = Finding::ok(format!("{} functions", expected.functions.len()));
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
    if !open.is_empty() {
        finding.add(
            Status::Warning,
            format!("anybody may execute {}", some(&open)),
            format!("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC", open.join(", ")),
        );
    }
    finding
        .figure("expected", expected.functions.len())
        .figure("missing", missing)
        .figure("changed", changed)
        .figure("executable_by_public", open)
}
