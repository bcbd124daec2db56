//! The query of a request, parsed at the door: every unknown, repeated or bad parameter is refused by name.

use std::fmt::Display;

use jiff::Timestamp;
use uuid::Uuid;

use super::token;
use crate::http::problem::Problem;
use crate::http::protocol::shortened;
use crate::postgres::read::{Order, Position, Table};

/// Most values in one list.
const MAX_VALUES: usize = 1_000;
/// Longest value of a list or text, in bytes.
const MAX_VALUE_BYTES: usize = 512;
/// Rows of a page where the request does not say.
const DEFAULT_LIMIT: usize = 50;
/// Most rows of a page.
const MAX_LIMIT: usize = 500;

/// The parameters of a request. An empty one counts as not given.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string.
    ///
    /// # Errors
    /// Where it names a parameter that is not known, or one twice.
    pub(super) fn parse(text: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()).into_owned() {
            if !known.contains(&&*name) {
                let expected = match known {
                    [] => "expected none here".to_owned(),
                    known => format!("expected one of {}", known.join(", ")),
                };
                return Err(Problem::invalid(
                    name,
                    format!("unknown parameter; {expected}"),
                ));
            }
            if pairs.iter().any(|(given, _)| *given == name) {
                return Err(Problem::invalid(
                    name,
                    "given more than once; expected one value, or a list separated by commas",
                ));
            }
            if value.contains('\0') {
                return Err(Problem::invalid(
                    name,
                    "expected text without a zero character",
                ));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(given, _)| given == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// A bounded text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        self.value(name).map(|value| short(name, value)).transpose()
    }

    /// A list separated by commas.
    pub(super) fn list(&self, name: &str) -> Result<Vec<String>, Problem> {
        let values: Vec<&str> = self
            .value(name)
            .unwrap_or_default()
            .split(',')
            .filter(|value| !value.is_empty())
            .collect();
        if values.len() > MAX_VALUES {
            return Err(Problem::invalid(
                name,
                format!(
                    "{} values given; expected {MAX_VALUES} at most",
                    values.len()
                ),
            ));
        }
        values.into_iter().map(|value| short(name, value)).collect()
    }

    /// A list of known words.
    pub(super) fn words(&self, name: &str, known: &[&str]) -> Result<Vec<String>, Problem> {
        let values = self.list(name)?;
        match values.iter().find(|value| !known.contains(&&***value)) {
            Some(value) => Err(unexpected(
                name,
                value,
                format!("one of {}", known.join(", ")),
            )),
            None => Ok(values),
        }
    }

    /// A list of UUIDs.
    pub(super) fn uuids(&self, name: &str) -> Result<Vec<Uuid>, Problem> {
        self.list(name)?
            .iter()
            .map(|value| uuid(name, value))
            .collect()
    }

    /// An instant.
    pub(super) fn instant(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        value.parse().map(Some).map_err(|_| {
            let hint = if value.contains(' ') {
                " (a + is written %2B in a query)"
            } else {
                ""
            };
            unexpected(
                name,
                value,
                format!("an instant such as 2026-11-21T05:01:35Z{hint}"),
            )
        })
    }

    /// Yes or no.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.value(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(value) => Err(unexpected(name, value, "true or false")),
        }
    }

    /// `limit` of a page.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let Some(value) = self.value("limit") else {
            return Ok(DEFAULT_LIMIT);
        };
        value
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| unexpected("limit", value, format!("a number from 1 to {MAX_LIMIT}")))
    }

    /// `limit` of an export, which has none unless it is given.
    pub(super) fn export_limit(&self) -> Result<Option<usize>, Problem> {
        let Some(value) = self.value("limit") else {
            return Ok(None);
        };
        value
            .parse()
            .ok()
            .filter(|limit| (1..=i64::MAX as u64).contains(limit))
            .and_then(|limit| usize::try_from(limit).ok())
            .map(Some)
            .ok_or_else(|| unexpected("limit", value, "a number from 1"))
    }

    /// `sort`: one of the table's orders.
    pub(super) fn order(&self, table: &'static Table) -> Result<&'static Order, Problem> {
        let Some(value) = self.value("sort") else {
            return Ok(&table.orders[0]);
        };
        table
            .orders
            .iter()
            .find(|order| order.name == value)
            .ok_or_else(|| {
                let names: Vec<&str> = table.orders.iter().map(|order| order.name).collect();
                unexpected("sort", value, format!("one of {}", names.join(", ")))
            })
    }

    /// `page`: where the page before ended.
    pub(super) fn page(&self, order: &Order) -> Result<Option<Position>, Problem> {
        self.value("page")
            .map(|token| token::decode(token, order.code, order.kinds()))
            .transpose()
            .map_err(|error| Problem::invalid("page", error))
    }
}

/// A UUID from a request.
pub(super) fn uuid(field: &str, value: &str) -> Result<Uuid, Problem> {
    value
        .parse()
        .map_err(|_| unexpected(field, value, "a UUID"))
}

/// A value that was not expected.
pub(super) fn unexpected(field: &str, value: &str, expected: impl Display) -> Problem {
    let shown = shortened(value);
    Problem::invalid(field, format!("\"{shown}\" given; expected {expected}"))
}

fn short(name: &str, value: &str) -> Result<String, Problem> {
    if value.len() > MAX_VALUE_BYTES {
        let expected = format!(
            "a value of {} bytes given; expected {MAX_VALUE_BYTES} at most",
            value.len()
        );
        return Err(Problem::invalid(name, expected));
    }
    Ok(value.to_owned())
}
