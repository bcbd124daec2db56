//! A place in an ordered list: the sort key of a row.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use uuid::Uuid;

/// Seconds from 1970 to 2000, where PostgreSQL's count begins.
const EPOCH_SECONDS: i64 = 946_684_800;
/// PostgreSQL's first instant, in the year 4713 BC, in its own count.
const FIRST: i64 = -211_813_488_000_000_000;
/// The first count that is no instant any more, in the year 294277.
const END: i64 = 9_223_371_331_200_000_000;

/// An instant as PostgreSQL counts it: microseconds since 2000. Other than [`Timestamp`], which ends a day before the
/// year 9999 does, it holds every value that a row may have, the two infinities too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DatabaseInstant(i64);

impl DatabaseInstant {
    /// The instant of that count, if PostgreSQL has it.
    pub(crate) fn from_count(count: i64) -> Option<Self> {
        let is_one = (FIRST..END).contains(&count) || count == i64::MIN || count == i64::MAX;
        is_one.then_some(Self(count))
    }

    /// PostgreSQL's count.
    pub(crate) fn count(self) -> i64 {
        self.0
    }

    /// So many microseconds earlier, but not before PostgreSQL's first instant.
    pub(crate) fn earlier(self, microseconds: i64) -> Self {
        Self(self.0.saturating_sub(microseconds).max(FIRST))
    }
}

/// Cut to microseconds; what is before PostgreSQL's first instant becomes that one.
impl From<Timestamp> for DatabaseInstant {
    fn from(instant: Timestamp) -> Self {
        Self((instant.as_microsecond() - EPOCH_SECONDS * 1_000_000).max(FIRST))
    }
}

impl ToSql for DatabaseInstant {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0);
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for DatabaseInstant {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    accepts!(TIMESTAMPTZ);
}

/// What a part of a sort key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// `timestamptz`
    Instant,
    /// `bigint`
    Integer,
    /// `uuid`
    Uuid,
    /// `text`
    Text,
}

/// A part of a sort key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyPart {
    /// `timestamptz`
    Instant(DatabaseInstant),
    /// `bigint`
    Integer(i64),
    /// `uuid`
    Uuid(Uuid),
    /// `text`
    Text(String),
}

/// The sort key of the last row of a page: the next page begins after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position(pub(crate) Vec<KeyPart>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_counted_as_postgresql_does() {
        let instant: Timestamp = "2000-01-01T00:00:01.000002Z".parse().expect("an instant");
        assert_eq!(DatabaseInstant::from(instant).count(), 1_000_002);
        assert_eq!(DatabaseInstant::from(Timestamp::MIN).count(), FIRST);
        assert!(DatabaseInstant::from(Timestamp::MAX).count() < END);
        assert_eq!(DatabaseInstant::from(instant).earlier(2).count(), 1_000_000);
        assert_eq!(DatabaseInstant(FIRST).earlier(1).count(), FIRST);
    }

    #[test]
    fn a_count_that_postgresql_would_refuse_is_no_instant() {
        for count in [i64::MIN, FIRST, 0, END - 1, i64::MAX] {
            let instant = DatabaseInstant::from_count(count);
            assert_eq!(instant.map(DatabaseInstant::count), Some(count));
        }
        for count in [i64::MIN + 1, FIRST - 1, END, i64::MAX - 1] {
            assert_eq!(DatabaseInstant::from_count(count), None, "{count}");
        }
    }
}
