//! A filtered, ordered list as SQL. Values are always parameters, never text of the statement.

use std::fmt::Write;

use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::{DatabaseInstant, KeyKind, KeyPart, Position, ReadError};

/// What can be listed.
#[derive(Debug)]
pub(crate) struct Table {
    /// What the API calls it: the key of the array and the name of the exported file.
    pub(crate) name: &'static str,
    /// The columns of an export as CSV, in order.
    pub(crate) columns: &'static [&'static str],
    /// In which orders it can be listed; the first is the default.
    pub(crate) orders: &'static [Order],
    /// The table.
    pub(super) relation: &'static str,
    /// The row `r` as JSON.
    pub(super) json: &'static str,
}

/// An order in which rows are listed.
#[derive(Debug)]
pub(crate) struct Order {
    /// Its name in the API: the column, with a minus where the greatest comes first.
    pub(crate) name: &'static str,
    /// What page tokens call it: never given to another order.
    pub(crate) code: u8,
    /// The sort key; its last part is unique.
    pub(super) keys: &'static [(&'static str, KeyKind)],
    /// What is left out because it has no place in this order.
    pub(super) condition: Option<&'static str>,
}

impl Order {
    fn is_descending(&self) -> bool {
        self.name.starts_with('-')
    }

    /// What the parts of its sort key are.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = KeyKind> {
        self.keys.iter().map(|(_, kind)| *kind)
    }
}

/// A value of a statement.
#[derive(Clone, Debug)]
pub(super) enum Parameter {
    Text(String),
    Texts(Vec<String>),
    Uuid(Uuid),
    Uuids(Vec<Uuid>),
    Instant(DatabaseInstant),
    Integer(i64),
}

impl Parameter {
    pub(super) fn kind(&self) -> Type {
        match self {
            Self::Text(_) => Type::TEXT,
            Self::Texts(_) => Type::TEXT_ARRAY,
            Self::Uuid(_) => Type::UUID,
            Self::Uuids(_) => Type::UUID_ARRAY,
            Self::Instant(_) => Type::TIMESTAMPTZ,
            Self::Integer(_) => Type::INT8,
        }
    }

    pub(super) fn value(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Text(value) => value,
            Self::Texts(value) => value,
            Self::Uuid(value) => value,
            Self::Uuids(value) => value,
            Self::Instant(value) => value,
            Self::Integer(value) => value,
        }
    }
}

impl From<&KeyPart> for Parameter {
    fn from(part: &KeyPart) -> Self {
        match part {
            KeyPart::Instant(value) => Self::Instant(*value),
            KeyPart::Integer(value) => Self::Integer(*value),
            KeyPart::Uuid(value) => Self::Uuid(*value),
            KeyPart::Text(value) => Self::Text(value.clone()),
        }
    }
}

/// Text and values, ready to be sent.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) parameters: Vec<Parameter>,
}

impl Statement {
    pub(super) fn typed(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.parameters
            .iter()
            .map(|parameter| (parameter.value(), parameter.kind()))
            .collect()
    }
}

/// What is listed, filtered by what and in which order.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    /// What is listed.
    pub(crate) table: &'static Table,
    /// In which order.
    pub(crate) order: &'static Order,
    conditions: Vec<String>,
    parameters: Vec<Parameter>,
}

impl Listing {
    pub(super) fn new(table: &'static Table, order: &'static Order) -> Self {
        Self {
            table,
            order,
            conditions: order.condition.map(str::to_owned).into_iter().collect(),
            parameters: Vec::new(),
        }
    }

    /// Keeps only rows for which the condition holds.
    pub(super) fn only(&mut self, condition: &str) {
        self.conditions.push(condition.to_owned());
    }

    /// Keeps only rows for which the condition holds with the value in the place of each `?`.
    pub(super) fn only_with(&mut self, condition: &str, value: Parameter) {
        self.parameters.push(value);
        let place = format!("${}", self.parameters.len());
        self.conditions.push(condition.replace('?', &place));
    }

    /// Keeps only rows whose column has one of the values, if there are any. A single one is compared with `=`, so that
    /// an index on the column and the sort key gives the order, too.
    pub(super) fn only_any(&mut self, column: &str, mut values: Vec<String>) {
        match values.len() {
            0 => {}
            1 => self.only_with(&format!("{column} = ?"), Parameter::Text(values.remove(0))),
            _ => self.only_with(&format!("{column} = ANY (?)"), Parameter::Texts(values)),
        }
    }

    /// The rows after a position. They are chosen and ordered before any is made JSON of, so that only those that are
    /// sent are.
    pub(super) fn statement(&self, after: Option<&Position>, limit: Option<usize>) -> Statement {
        let mut conditions = self.conditions.clone();
        let mut parameters = self.parameters.clone();
        let direction = if self.order.is_descending() {
            "DESC"
        } else {
            "ASC"
        };
        let columns: Vec<&str> = self.order.keys.iter().map(|(column, _)| *column).collect();
        if let Some(Position(parts)) = after {
            let first = parameters.len() + 1;
            parameters.extend(parts.iter().map(Parameter::from));
            let places: Vec<String> = (first..=parameters.len())
                .map(|n| format!("${n}"))
                .collect();
            let relation = if self.order.is_descending() { "<" } else { ">" };
            conditions.push(format!(
                "({}) {relation} ({})",
                columns.join(", "),
                places.join(", ")
            ));
        }
        let ordered: Vec<String> = columns
            .iter()
            .map(|column| format!("{column} {direction}"))
            .collect();
        let ordered = ordered.join(", ");
        let mut rows = format!("SELECT * FROM {}", self.table.relation);
        if !conditions.is_empty() {
            let _ = write!(rows, " WHERE {}", conditions.join(" AND "));
        }
        let _ = write!(rows, " ORDER BY {ordered}");
        if let Some(limit) = limit {
            let _ = write!(rows, " LIMIT {limit}");
        }
        let sql = format!(
            "SELECT ({})::text, {} FROM ({rows}) AS r ORDER BY {ordered}",
            self.table.json,
            columns.join(", ")
        );
        Statement { sql, parameters }
    }

    /// The sort key of a row of the statement.
    pub(super) fn position(&self, row: &Row) -> Result<Position, ReadError> {
        let part = |(place, kind)| -> Result<KeyPart, ReadError> {
            Ok(match kind {
                KeyKind::Instant => KeyPart::Instant(row.try_get(place)?),
                KeyKind::Integer => KeyPart::Integer(row.try_get(place)?),
                KeyKind::Uuid => KeyPart::Uuid(row.try_get(place)?),
                KeyKind::Text => KeyPart::Text(row.try_get(place)?),
            })
        };
        let parts = (1..).zip(self.order.kinds()).map(part);
        Ok(Position(parts.collect::<Result<_, _>>()?))
    }
}
