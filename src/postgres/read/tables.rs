//! What can be listed, by what it is filtered, and in which orders.

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    KeyKind, columns,
    listing::{Listing, Order, Parameter, Table},
};

/// The condition of the index `sync_operations_that_are_active`, word for word.
const ACTIVE: &str = "status IN ('pending', 'in_progress', 'paused')";
const ENDED: &str = "status IN ('completed', 'failed', 'cancelled')";

/// `sync_operations`, each row with `stalled_since` while it is stalled.
pub(crate) static OPERATIONS: Table = Table {
    name: "operations",
    columns: columns::OPERATIONS,
    orders: &[
        operations_by("-created_at", 1, &CREATED, None),
        operations_by("created_at", 2, &CREATED, None),
        operations_by("-completed_at", 3, &COMPLETED, Some(HAS_COMPLETED)),
        operations_by("completed_at", 4, &COMPLETED, Some(HAS_COMPLETED)),
        operations_by("-updated_at", 5, &UPDATED, None),
        operations_by("updated_at", 6, &UPDATED, None),
    ],
    relation: "public.sync_operations",
    json: super::single::OPERATION_JSON,
};

const CREATED: [(&str, KeyKind); 2] = [("created_at", KeyKind::Instant), ("id", KeyKind::Uuid)];
const COMPLETED: [(&str, KeyKind); 2] = [("completed_at", KeyKind::Instant), ("id", KeyKind::Uuid)];
const UPDATED: [(&str, KeyKind); 2] = [("updated_at", KeyKind::Instant), ("id", KeyKind::Uuid)];
const HAS_COMPLETED: &str = "completed_at IS NOT NULL";

const fn operations_by(
    name: &'static str,
    code: u8,
    keys: &'static [(&'static str, KeyKind)],
    condition: Option<&'static str>,
) -> Order {
    Order {
        name,
        code,
        keys,
        condition,
    }
}

/// `connection_status`
pub(crate) static CONNECTIONS: Table = Table {
    name: "connections",
    columns: columns::CONNECTIONS,
    orders: &[
        Order {
            name: "client_id",
            code: 16,
            keys: &[("client_id", KeyKind::Text)],
            condition: None,
        },
        Order {
            name: "-client_id",
            code: 17,
            keys: &[("client_id", KeyKind::Text)],
            condition: None,
        },
    ],
    relation: "public.connection_status",
    json: "row_to_json(r)",
};

/// `sync_status_snapshots`
pub(crate) static SNAPSHOTS: Table = Table {
    name: "snapshots",
    columns: columns::SNAPSHOTS,
    orders: &[
        Order {
            name: "-taken_at",
            code: 32,
            keys: &TAKEN,
            condition: None,
        },
        Order {
            name: "taken_at",
            code: 33,
            keys: &TAKEN,
            condition: None,
        },
    ],
    relation: "public.sync_status_snapshots",
    json: "row_to_json(r)",
};

const TAKEN: [(&str, KeyKind); 2] = [("taken_at", KeyKind::Instant), ("id", KeyKind::Integer)];

/// `sync_operation_errors`
pub(crate) static ERRORS: Table = Table {
    name: "errors",
    columns: columns::ERRORS,
    orders: &[
        Order {
            name: "-id",
            code: 48,
            keys: &[("id", KeyKind::Integer)],
            condition: None,
        },
        Order {
            name: "id",
            code: 49,
            keys: &[("id", KeyKind::Integer)],
            condition: None,
        },
    ],
    relation: "public.sync_operation_errors",
    json: "row_to_json(r)",
};

/// Which operations are wanted: those that match everything that is given.
#[derive(Debug, Default)]
pub(crate) struct OperationFilter {
    /// One of these.
    pub(crate) ids: Vec<Uuid>,
    /// With one of these statuses.
    pub(crate) statuses: Vec<String>,
    /// Of one of these owners.
    pub(crate) owners: Vec<String>,
    /// Of one of these types.
    pub(crate) operation_types: Vec<String>,
    /// From one of these sources.
    pub(crate) sources: Vec<String>,
    /// Created then or later.
    pub(crate) created_after: Option<Timestamp>,
    /// Created before then.
    pub(crate) created_before: Option<Timestamp>,
    /// With this text in the message, the current item, the error or the type, in small or capital letters.
    pub(crate) search: Option<String>,
    /// Not ended yet (true), or ended (false).
    pub(crate) active: Option<bool>,
}

impl OperationFilter {
    /// The list of them. Types, sources and text have no index: the list is walked in its order until the page is full.
    pub(crate) fn listing(self, order: &'static Order) -> Listing {
        let mut listing = Listing::new(&OPERATIONS, order);
        if !self.ids.is_empty() {
            listing.only_with("id = ANY (?)", Parameter::Uuids(self.ids));
        }
        listing.only_any("status", self.statuses);
        listing.only_any("owner", self.owners);
        listing.only_any("operation_type", self.operation_types);
        listing.only_any("source", self.sources);
        if let Some(active) = self.active {
            listing.only(if active { ACTIVE } else { ENDED });
        }
        only_between(
            &mut listing,
            "created_at",
            self.created_after,
            self.created_before,
        );
        if let Some(text) = self.search {
            let fields = ["message", "current_item", "error", "operation_type"];
            let anywhere = fields.map(|field| format!("{field} ILIKE ?")).join(" OR ");
            listing.only_with(
                &format!("({anywhere})"),
                Parameter::Text(contains_pattern(&text)),
            );
        }
        listing
    }
}

/// Which connections are wanted.
#[derive(Debug, Default)]
pub(crate) struct ConnectionFilter {
    /// With one of these statuses.
    pub(crate) statuses: Vec<String>,
    /// Written by one of these: `app`, `relay`.
    pub(crate) sources: Vec<String>,
}

impl ConnectionFilter {
    /// The list of them.
    pub(crate) fn listing(self, order: &'static Order) -> Listing {
        let mut listing = Listing::new(&CONNECTIONS, order);
        listing.only_any("status", self.statuses);
        listing.only_any("source", self.sources);
        listing
    }
}

/// Which health snapshots are wanted.
#[derive(Debug, Default)]
pub(crate) struct SnapshotFilter {
    /// Of one of these kinds: `scheduled`, `manual`.
    pub(crate) kinds: Vec<String>,
    /// With one of these statuses.
    pub(crate) statuses: Vec<String>,
    /// Taken then or later.
    pub(crate) taken_after: Option<Timestamp>,
    /// Taken before then.
    pub(crate) taken_before: Option<Timestamp>,
}

impl SnapshotFilter {
    /// The list of them.
    pub(crate) fn listing(self, order: &'static Order) -> Listing {
        let mut listing = Listing::new(&SNAPSHOTS, order);
        listing.only_any("kind", self.kinds);
        listing.only_any("status", self.statuses);
        only_between(
            &mut listing,
            "taken_at",
            self.taken_after,
            self.taken_before,
        );
        listing
    }
}

/// The errors of an operation.
pub(crate) fn errors_of(operation: Uuid, order: &'static Order) -> Listing {
    let mut listing = Listing::new(&ERRORS, order);
    listing.only_with("operation_id = ?", Parameter::Uuid(operation));
    listing
}

fn only_between(
    listing: &mut Listing,
    column: &str,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) {
    if let Some(from) = from {
        listing.only_with(&format!("{column} >= ?"), Parameter::Instant(from.into()));
    }
    if let Some(to) = to {
        listing.only_with(&format!("{column} < ?"), Parameter::Instant(to.into()));
    }
}

/// The LIKE pattern for "contains this text".
fn contains_pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::postgres::read::{KeyPart, Position};

    const TABLES: [&Table; 4] = [&OPERATIONS, &CONNECTIONS, &SNAPSHOTS, &ERRORS];

    #[test]
    fn no_two_orders_share_a_code_and_each_has_its_reverse() {
        let orders = || TABLES.iter().flat_map(|table| table.orders);
        let codes: HashSet<u8> = orders().map(|order| order.code).collect();
        assert_eq!(codes.len(), orders().count());
        for table in TABLES {
            let names: HashSet<&str> = table.orders.iter().map(|order| order.name).collect();
            for name in &names {
                let reverse = name
                    .strip_prefix('-')
                    .map_or(format!("-{name}"), str::to_owned);
                assert!(names.contains(&*reverse), "{name}");
            }
        }
    }

    #[test]
    fn what_is_searched_for_is_no_pattern() {
        assert_eq!(contains_pattern(r"50%_\"), r"%50\%\_\\%");
    }

    #[test]
    fn nothing_that_a_client_says_is_text_of_the_statement() {
        let evil = "x' OR 1=1 --".to_owned();
        let filter = OperationFilter {
            ids: vec![Uuid::nil()],
            statuses: vec!["failed".to_owned(), evil.clone()],
            owners: vec![evil.clone()],
            search: Some(evil.clone()),
            created_after: Some(Timestamp::UNIX_EPOCH),
            ..OperationFilter::default()
        };
        let position = Position(vec![
            KeyPart::Instant(Timestamp::UNIX_EPOCH.into()),
            KeyPart::Uuid(Uuid::nil()),
        ]);
        let statement = filter
            .listing(&OPERATIONS.orders[0])
            .statement(Some(&position), Some(51));
        assert!(!statement.sql.contains("1=1"), "{}", statement.sql);
        assert_eq!(statement.parameters.len(), 7);
        let chosen = "FROM public.sync_operations WHERE id = ANY ($1) AND status = ANY ($2) AND owner = $3 \
            AND created_at >= $4 AND (message ILIKE $5 OR current_item ILIKE $5 OR error ILIKE $5 OR operation_type ILIKE $5) \
            AND (created_at, id) < ($6, $7) ORDER BY created_at DESC, id DESC LIMIT 51) AS r";
        assert!(statement.sql.contains(chosen), "{}", statement.sql);
    }
}
