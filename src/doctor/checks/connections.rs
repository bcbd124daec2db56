//! Are there sessions left for a relay?

use crate::doctor::report::Finding;
use crate::doctor::session::{CheckError, Session};

/// `reserved_connections` is there from 16 on. Backends are counted where everybody may: in the databases' statistics.
const ASK: &str = "SELECT current_setting('max_connections')::bigint,
    current_setting('superuser_reserved_connections')::bigint + coalesce(current_setting('reserved_connections', true)::bigint, 0),
    (SELECT sum(numbackends)::bigint FROM pg_stat_database),
    (SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('bellwether', 'bellwether listener', 'bellwether reader', 'bellwether ringer')
        AND datname = current_database()),
    (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bellwether doctor'),
    r.rolsuper, r.rolconnlimit::bigint, d.datconnlimit::bigint,
    (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user),
    (SELECT numbackends::bigint FROM pg_stat_database WHERE datname = current_database())
    FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = current_database()";

/// Besides its pool: one that listens, one that looks, one that rings where writers queue for the bell, two for subscribers
/// that are behind memory.
const BESIDES: i64 = 5;
/// With fewer it cannot even begin.
const LEAST: i64 = 3;

pub(in crate::doctor) async fn check(
    session: &Session,
    pool_size: u16,
) -> Result<Finding, CheckError> {
    let row = session.row(ASK).await?;
    let number = |column: usize| row.get::<_, Option<i64>>(column).unwrap_or_default();
    let (most, reserved, used, relays, own) =
        (number(0), number(1), number(2), number(3), number(4));
    let reserved_for_others = if row.get::<_, bool>(5) { 0 } else { reserved };
    let mut free = most - reserved_for_others - (used - own);
    // A limit below zero is none.
    for (limit, used) in [(number(6), number(8)), (number(7), number(9))] {
        if limit >= 0 {
            free = free.min(limit - (used - own).max(0));
        }
    }
    let needed = i64::from(pool_size) + BESIDES;
    let found = format!(
        "{used} of {most} in use ({reserved} reserved), {free} free for this role; relays hold {relays}; one takes up to {needed}"
    );
    let finding = if relays == 0 && free < LEAST {
        Finding::failure(
            found,
            "raise max_connections (or the role's or database's CONNECTION LIMIT), or end sessions that nobody needs",
        )
    } else if relays < needed && free < needed - relays {
        Finding::warning(
            found,
            "raise max_connections (or the role's or database's CONNECTION LIMIT), or lower --pool-size",
        )
    } else {
        Finding::ok(found)
    };
    Ok(finding
        .figure("max_connections", most)
        .figure("reserved", reserved)
        .figure("in_use", used)
        .figure("free", free)
        .figure("held_by_relays", relays)
        .figure("needed_by_a_relay", needed))
}
