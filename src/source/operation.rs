//! Rows of `sync_operations` as the log keeps them, turned into the JSON that subscribers get.
//!
//! `row_to_json` would do the same, and does where looks are few. But it looks up the type and the output function of each of
//! 32 columns for each row, and the reading session is one process among the writers': once it takes more than its
//! share of the processors it waits for its turn as they do, and every screen with it. `record_send` hands out what it
//! has, and the rest is done here. What comes out is the same, numbers included.

use std::fmt::Write;

use tokio_postgres::GenericClient;

use crate::event::{Keys, push_json_string};

/// The columns in their order, with what this version can read.
const COLUMNS: &str = "SELECT a.attname::text, a.atttypid FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.typrelid = a.attrelid
    WHERE t.oid = 'bellwether.operation'::pg_catalog.regtype AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// Days from 0000-03-01 to 2000-01-01, from which PostgreSQL counts.
const DAYS_BEFORE_2000: i64 = 730_425;
const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

/// A row cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowError {
    /// It has other columns than the session found when it began.
    #[error("the columns of bellwether.operation have changed")]
    OtherColumns,
    /// It is not what `record_send` makes.
    #[error("the row of bellwether.operation cannot be read")]
    Malformed,
}

/// What columns rows have.
#[derive(Debug)]
pub(super) struct Columns(Vec<Column>);

#[derive(Debug)]
struct Column {
    /// What stands before the value in JSON: `,"status":`.
    label: String,
    kind: Kind,
    /// Where the value belongs, if subscribers filter on it.
    key: Option<Key>,
}

type Key = fn(&mut Keys) -> &mut Option<Box<str>>;

impl Column {
    fn new(index: usize, name: &str, kind: Kind) -> Self {
        let mut label = String::from(if index == 0 { "{" } else { "," });
        push_json_string(&mut label, name);
        label.push(':');
        let key: Option<Key> = match name {
            "owner" => Some(|keys| &mut keys.owner),
            "operation_type" => Some(|keys| &mut keys.operation_type),
            "status" => Some(|keys| &mut keys.status),
            "source" => Some(|keys| &mut keys.source),
            _ => None,
        };
        Self { label, kind, key }
    }
}

/// How the value of a column is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Uuid,
    Text,
    Bigint,
    Numeric,
    Real,
    Instant,
    Jsonb,
}

impl Kind {
    /// By the type's OID, which is the same in every PostgreSQL.
    fn of(oid: u32) -> Option<Self> {
        Some(match oid {
            2950 => Self::Uuid,
            25 => Self::Text,
            20 => Self::Bigint,
            1700 => Self::Numeric,
            700 => Self::Real,
            1184 => Self::Instant,
            3802 => Self::Jsonb,
            _ => return None,
        })
    }
}

impl Columns {
    /// Asks for them. None where one is of a type that this version does not know: a newer one has added it.
    pub(super) async fn ask(
        client: &impl GenericClient,
    ) -> Result<Option<Self>, tokio_postgres::Error> {
        let rows = client.query_typed(COLUMNS, &[]).await?;
        let column = |(index, row): (usize, &tokio_postgres::Row)| {
            Some(Column::new(index, row.get(0), Kind::of(row.get(1))?))
        };
        let columns = rows.iter().enumerate().map(column);
        Ok(columns.collect::<Option<_>>().map(Self))
    }

    /// The row as a JSON object, and the columns in it that subscribers filter on, from what `record_send` makes: the
    /// number of columns, and of each one the type, the length (-1 for null) and the value.
    pub(super) fn read(&self, mut sent: &[u8]) -> Result<(Box<str>, Keys), RowError> {
        let count = i32::from_be_bytes(take(&mut sent)?);
        if usize::try_from(count) != Ok(self.0.len()) {
            return Err(RowError::OtherColumns);
        }
        let mut keys = Keys::default();
        let mut json = String::with_capacity(1_024);
        for column in &self.0 {
            let kind = u32::from_be_bytes(take(&mut sent)?);
            if Kind::of(kind) != Some(column.kind) {
                return Err(RowError::OtherColumns);
            }
            let length = i32::from_be_bytes(take(&mut sent)?);
            json.push_str(&column.label);
            let Ok(length) = usize::try_from(length) else {
                json.push_str("null");
                continue;
            };
            let (value, rest) = sent.split_at_checked(length).ok_or(RowError::Malformed)?;
            sent = rest;
            push_value(&mut json, column.kind, value)?;
            if let Some(key) = column.key {
                *key(&mut keys) = Some(text(value)?.into());
            }
        }
        json.push('}');
        Ok((json.into(), keys))
    }
}

/// The next few bytes.
fn take<const N: usize>(sent: &mut &[u8]) -> Result<[u8; N], RowError> {
    let (taken, rest) = sent.split_first_chunk().ok_or(RowError::Malformed)?;
    *sent = rest;
    Ok(*taken)
}

/// A value of just so many bytes.
fn whole<const N: usize>(value: &[u8]) -> Result<[u8; N], RowError> {
    value.try_into().map_err(|_| RowError::Malformed)
}

fn text(value: &[u8]) -> Result<&str, RowError> {
    std::str::from_utf8(value).map_err(|_| RowError::Malformed)
}

fn push_value(json: &mut String, kind: Kind, value: &[u8]) -> Result<(), RowError> {
    match kind {
        Kind::Uuid => {
            let id = uuid::Uuid::from_bytes(whole(value)?).hyphenated();
            json.push('"');
            json.push_str(id.encode_lower(&mut uuid::Uuid::encode_buffer()));
            json.push('"');
        }
        Kind::Text => push_json_string(json, text(value)?),
        Kind::Bigint => push_integer(json, i64::from_be_bytes(whole(value)?)),
        Kind::Numeric => push_numeric(json, value)?,
        Kind::Real => match f32::from_be_bytes(whole(value)?) {
            number if number.is_finite() => push_real(json, number),
            number if number.is_nan() => json.push_str("\"NaN\""),
            number => json.push_str(if number > 0.0 {
                "\"Infinity\""
            } else {
                "\"-Infinity\""
            }),
        },
        Kind::Instant => push_instant(json, i64::from_be_bytes(whole(value)?)),
        Kind::Jsonb => match value.split_first() {
            Some((1, document)) => json.push_str(text(document)?),
            _ => return Err(RowError::Malformed),
        },
    }
    Ok(())
}

fn push(json: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = json.write_fmt(what); // a String takes everything
}

fn push_integer(json: &mut String, number: i64) {
    json.push_str(itoa::Buffer::new().format(number));
}

/// With zeros in front, where it has fewer digits.
fn push_digits(json: &mut String, number: i64, digits: usize) {
    let mut buffer = itoa::Buffer::new();
    let shown = buffer.format(number);
    (shown.len()..digits).for_each(|_| json.push('0'));
    json.push_str(shown);
}

/// The decimal number with the fewest digits that is this one, and of several the nearest, written as PostgreSQL does. It
/// goes another way than Rust's shortest form in two points: of two that are as near it takes the even one, not the
/// greater one, and it takes none that is as near to the next number.
fn push_real(json: &mut String, number: f32) {
    let exact = f64::from(number);
    let fewest = format!("{number:e}");
    let is_of_mantissa = |byte: &u8| *byte != b'e';
    let mantissa = fewest.bytes().take_while(is_of_mantissa);
    let digits = mantissa.filter(u8::is_ascii_digit).count();
    let middle = |next: f32| (exact + f64::from(next)) / 2.0;
    let middles = [middle(number.next_down()), middle(number.next_up())];
    let tells = |text: &String| {
        text.parse() == Ok(number) && text.parse().is_ok_and(|value| !middles.contains(&value))
    };
    let rounded = |digits: usize| format!("{exact:.*e}", digits - 1);
    let shown = [rounded(digits), fewest]
        .into_iter()
        .chain((digits + 1..9).map(rounded))
        .find(tells)
        .unwrap_or_else(|| rounded(9)); // nine are always enough
    match shown.split_once('e').map(|(_, power)| power.parse::<i32>()) {
        Some(Ok(power)) if !(-4..6).contains(&power) => {
            let mantissa = &shown[..shown.len() - power.to_string().len() - 1];
            let sign = if power < 0 { '-' } else { '+' };
            push(json, format_args!("{mantissa}e{sign}{:02}", power.abs()));
        }
        _ => push(json, format_args!("{}", shown.parse().unwrap_or(exact))),
    }
}

/// Groups of four decimal digits: how many, the weight of the first one as a power of 10,000, the sign, and how many
/// digits after the point are shown, as `numeric_send` of PostgreSQL has them.
fn push_numeric(json: &mut String, mut value: &[u8]) -> Result<(), RowError> {
    let count = u16::from_be_bytes(take(&mut value)?);
    let weight = i16::from_be_bytes(take(&mut value)?);
    let sign = u16::from_be_bytes(take(&mut value)?);
    let scale = usize::from(u16::from_be_bytes(take(&mut value)?));
    json.push_str(match sign {
        0x0000 => "",
        0x4000 => "-",
        0xC000 => "\"NaN\"",
        0xD000 => "\"Infinity\"",
        0xF000 => "\"-Infinity\"",
        _ => return Err(RowError::Malformed),
    });
    if sign >= 0xC000 {
        return Ok(());
    }
    if value.len() != usize::from(count) * 2 {
        return Err(RowError::Malformed);
    }
    // The group that counts so many times 10,000 to this power; those that are not sent are 0.
    let group = |power: i32| {
        usize::try_from(i32::from(weight) - power)
            .ok()
            .and_then(|index| value.get(index * 2..index * 2 + 2))
            .map_or(0, |bytes| {
                i64::from(u16::from_be_bytes([bytes[0], bytes[1]]))
            })
    };
    let first = i32::from(weight).max(0);
    push_integer(json, group(first));
    for power in (0..first).rev() {
        push_digits(json, group(power), 4);
    }
    if scale > 0 {
        json.push('.');
        let end = json.len() + scale;
        for power in 1..=scale.div_ceil(4) {
            push_digits(json, group(-(power as i32)), 4);
        }
        json.truncate(end);
    }
    Ok(())
}

/// Microseconds since 2000-01-01 in UTC, as ISO 8601 with the offset, like PostgreSQL writes it in JSON.
fn push_instant(json: &mut String, microseconds: i64) {
    match microseconds {
        i64::MAX => return json.push_str("\"infinity\""),
        i64::MIN => return json.push_str("\"-infinity\""),
        _ => {}
    }
    let (year, month, day) = civil(microseconds.div_euclid(MICROSECONDS_A_DAY));
    let of_day = microseconds.rem_euclid(MICROSECONDS_A_DAY);
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let (shown, era) = if year > 0 {
        (year, "")
    } else {
        (1 - year, " BC")
    };
    let parts = [
        ('"', shown, 4),
        ('-', month, 2),
        ('-', day, 2),
        ('T', hour, 2),
        (':', minute, 2),
        (':', second, 2),
    ];
    for (before, number, digits) in parts {
        json.push(before);
        push_digits(json, number, digits);
    }
    if fraction > 0 {
        json.push('.');
        push_digits(json, fraction, 6);
        json.truncate(json.trim_end_matches('0').len());
    }
    json.push_str("+00:00");
    json.push_str(era);
    json.push('"');
}

/// Year, month and day of a day counted from 2000-01-01, in the Gregorian calendar with a year 0. The algorithm is Howard
/// Hinnant's `civil_from_days`: <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + DAYS_BEFORE_2000;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(kinds: &[(&str, Kind)]) -> Columns {
        let column =
            |(index, (name, kind)): (usize, &(&str, Kind))| Column::new(index, name, *kind);
        Columns(kinds.iter().enumerate().map(column).collect())
    }

    fn sent(fields: &[(u32, Option<&[u8]>)]) -> Vec<u8> {
        let mut sent = (fields.len() as i32).to_be_bytes().to_vec();
        for (kind, value) in fields {
            sent.extend(kind.to_be_bytes());
            sent.extend(value.map_or(-1, |value| value.len() as i32).to_be_bytes());
            sent.extend(value.unwrap_or_default());
        }
        sent
    }

    #[test]
    fn a_row_is_json_with_the_columns_that_subscribers_filter_on() {
        let columns = columns(&[
            ("status", Kind::Text),
            ("owner", Kind::Text),
            ("total", Kind::Bigint),
            ("metadata", Kind::Jsonb),
        ]);
        let row = sent(&[
            (25, Some(b"a \"b\"")),
            (25, None),
            (20, Some(&(-7_i64).to_be_bytes())),
            (3802, Some(b"\x01{\"a\": 1}")),
        ]);
        let (json, keys) = columns.read(&row).expect("a row");
        assert_eq!(
            &*json,
            r#"{"status":"a \"b\"","owner":null,"total":-7,"metadata":{"a": 1}}"#
        );
        assert_eq!(keys.status.as_deref(), Some("a \"b\""));
        assert_eq!(keys.owner, None);
    }

    #[test]
    fn what_is_cut_off_or_of_other_columns_is_refused() {
        let columns = columns(&[("status", Kind::Text)]);
        let row = sent(&[(25, Some(b"running"))]);
        for length in 0..row.len() {
            assert_eq!(
                columns.read(&row[..length]),
                Err(RowError::Malformed),
                "{length}"
            );
        }
        assert_eq!(columns.read(&sent(&[])), Err(RowError::OtherColumns));
        assert_eq!(
            columns.read(&sent(&[(20, Some(&[0; 8]))])),
            Err(RowError::OtherColumns)
        );
        assert_eq!(
            columns.read(&sent(&[(25, Some(&[0xFF]))])),
            Err(RowError::Malformed)
        );
    }
}
