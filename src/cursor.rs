//! A cursor is a `pg_snapshot`: which transactions a reader has, not how far a number has come.
//!
//! Ids are handed out before commit and commits land out of order, so no single number can say what a reader is owed.
//! A snapshot can: a reader that has everything visible in `P` and now sees `C` is owed exactly what is visible in `C`
//! and not in `P`. Every event belongs to exactly one such interval.
//!
//! An interval can be huge. A reader that was cut off inside one holds `P`, `C` and the last id it got ([`Within`]);
//! ids order the events of one interval, so nothing else is needed to go on.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// First byte of an encoded cursor; another one means a format that this relay does not know.
const VERSION: u8 = 1;
/// More open writers than any sane server allows; bounds what a forged cursor can cost.
const MAX_IN_PROGRESS: usize = 8_192;
/// Longest encoded cursor that is looked at, in characters: 8,192 open writers at about three bytes each fit.
pub const MAX_ENCODED_LENGTH: usize = 48 * 1024;

/// Which transactions a reader has seen: PostgreSQL's `pg_snapshot`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// Every transaction from here on is unseen.
    xmax: u64,
    /// Transactions below `xmax` that were still open, ascending: unseen too.
    in_progress: Vec<u64>,
}

impl Snapshot {
    /// The snapshot that has seen every transaction below `xmax`.
    pub fn everything_below(xmax: u64) -> Self {
        Self {
            xmax,
            in_progress: Vec::new(),
        }
    }

    /// This snapshot as it would have been had only the transactions below `xid` been handed out: what it has seen of
    /// them, and nothing later.
    pub fn as_of_transaction(&self, xid: u64) -> Self {
        let xmax = xid.min(self.xmax);
        let below = self.in_progress.partition_point(|open| *open < xmax);
        Self {
            xmax,
            in_progress: self.in_progress[..below].to_vec(),
        }
    }

    /// Reads PostgreSQL's text form, `xmin:xmax:xip,xip,…`.
    ///
    /// # Errors
    /// [`CursorError::Malformed`] where the text is not of that form.
    pub fn parse(text: &str) -> Result<Self, CursorError> {
        let mut parts = text.splitn(3, ':');
        let (Some(_xmin), Some(xmax), Some(open)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(CursorError::Malformed);
        };
        let number = |digits: &str| digits.parse::<u64>().map_err(|_| CursorError::Malformed);
        let in_progress = open
            .split(',')
            .filter(|xid| !xid.is_empty())
            .map(number)
            .collect::<Result<Vec<_>, _>>()?;
        Self::new(number(xmax)?, in_progress)
    }

    fn new(xmax: u64, in_progress: Vec<u64>) -> Result<Self, CursorError> {
        let ascending = in_progress.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || in_progress.last().is_some_and(|last| *last >= xmax) {
            return Err(CursorError::Malformed);
        }
        Ok(Self { xmax, in_progress })
    }

    /// Whether the transaction's changes have been seen.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmax && self.in_progress.binary_search(&xid).is_err()
    }

    /// Whether everything that `other` has seen has been seen here too.
    pub fn covers(&self, other: &Snapshot) -> bool {
        // What is unseen here must be unseen there: the open ones, and everything from our xmax up to theirs.
        let first_newer = other.in_progress.partition_point(|xid| *xid < self.xmax);
        let open_newer = (other.in_progress.len() - first_newer) as u64;
        other.xmax.saturating_sub(self.xmax) == open_newer
            && !self.in_progress.iter().any(|xid| other.sees(*xid))
    }

    /// The first transaction that may still be owed.
    pub fn oldest_unseen(&self) -> u64 {
        self.in_progress.first().copied().unwrap_or(self.xmax)
    }

    /// Every transaction from this one on is unseen.
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// The transactions below [`Self::xmax`] that are unseen.
    pub fn in_progress(&self) -> &[u64] {
        &self.in_progress
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.xmax);
        put_varint(out, self.in_progress.len() as u64);
        let mut above = self.xmax;
        for xid in self.in_progress.iter().rev() {
            put_varint(out, above - xid);
            above = *xid;
        }
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, CursorError> {
        let xmax = take_varint(bytes)?;
        let count = take_varint(bytes)? as usize;
        if count > MAX_IN_PROGRESS {
            return Err(CursorError::TooLong);
        }
        let mut in_progress = Vec::with_capacity(count);
        let mut above = xmax;
        for _ in 0..count {
            above = above
                .checked_sub(take_varint(bytes)?)
                .ok_or(CursorError::Malformed)?;
            in_progress.push(above);
        }
        in_progress.reverse();
        let snapshot = Self::new(xmax, in_progress)?;
        // PostgreSQL counts from 3, and takes no snapshot with a 0 in it.
        if snapshot.oldest_unseen() == 0 {
            return Err(CursorError::Malformed);
        }
        Ok(snapshot)
    }
}

impl fmt::Display for Snapshot {
    /// PostgreSQL's text form, to be given back to it as a `pg_snapshot`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.oldest_unseen(), self.xmax)?;
        for (position, xid) in self.in_progress.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{xid}")?;
        }
        Ok(())
    }
}

/// How far a reader has come inside an interval.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Within {
    /// Where the interval ends.
    pub to: Snapshot,
    /// The last event of the interval that the reader has.
    pub last_id: i64,
}

/// What the transaction ids of a cursor belong to: one timeline of one log of one database. Cursors of another epoch
/// mean nothing here and must be refused, since transaction ids are handed out again after a failover or a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// What a reader has: everything in `seen`, and inside the interval after it what [`Within`] says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// What the transaction ids belong to.
    pub epoch: Epoch,
    /// What has been read completely.
    pub seen: Snapshot,
    /// How far the next interval has been read, where the reader is inside one.
    pub within: Option<Within>,
}

impl Cursor {
    /// The cursor of a reader that has exactly what is visible in `seen`.
    pub fn at(epoch: Epoch, seen: Snapshot) -> Self {
        Self {
            epoch,
            seen,
            within: None,
        }
    }

    /// Whether the reader has the event already.
    pub fn has(&self, xid: u64, id: i64) -> bool {
        self.seen.sees(xid)
            || self
                .within
                .as_ref()
                .is_some_and(|within| id <= within.last_id && within.to.sees(xid))
    }

    /// Whether everything that the reader `other` has is had here too. May say no where the answer is a hard-won yes
    /// (two readers inside different intervals), never yes where it is no.
    pub fn covers(&self, other: &Cursor) -> bool {
        let Some(theirs) = &other.within else {
            return self.seen.covers(&other.seen);
        };
        if self.seen.covers(&theirs.to) {
            return self.seen.covers(&other.seen);
        }
        self.seen.covers(&other.seen)
            && self
                .within
                .as_ref()
                .is_some_and(|mine| mine.to == theirs.to && mine.last_id >= theirs.last_id)
    }

    /// The first transaction that may still be owed.
    pub fn oldest_unseen(&self) -> u64 {
        self.seen.oldest_unseen()
    }

    /// The opaque text that travels: version, epoch and delta-varints, in base64url.
    pub fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.epoch.0.to_le_bytes());
        self.seen.encode(&mut bytes);
        if let Some(within) = &self.within {
            within.to.encode(&mut bytes);
            put_varint(&mut bytes, within.last_id.unsigned_abs());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// Says how the text is not a cursor; nothing in a forged one costs more than its length.
    pub fn decode(text: &str) -> Result<Self, CursorError> {
        if text.len() > MAX_ENCODED_LENGTH {
            return Err(CursorError::TooLong);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| CursorError::Malformed)?;
        let (version, rest) = bytes.split_first().ok_or(CursorError::Malformed)?;
        if *version != VERSION {
            return Err(CursorError::UnknownVersion(*version));
        }
        let (epoch, mut rest) = rest
            .split_first_chunk::<8>()
            .ok_or(CursorError::Malformed)?;
        let seen = Snapshot::decode(&mut rest)?;
        let mut within = None;
        if !rest.is_empty() {
            let to = Snapshot::decode(&mut rest)?;
            let last_id =
                i64::try_from(take_varint(&mut rest)?).map_err(|_| CursorError::Malformed)?;
            // An interval leads onwards.
            if !to.covers(&seen) {
                return Err(CursorError::Malformed);
            }
            within = Some(Within { to, last_id });
        }
        if !rest.is_empty() {
            return Err(CursorError::Malformed);
        }
        Ok(Self {
            epoch: Epoch(u64::from_le_bytes(*epoch)),
            seen,
            within,
        })
    }
}

/// Why a text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Not what this relay or any other writes.
    #[error("not a cursor")]
    Malformed,
    /// Longer than any real cursor.
    #[error("longer than any cursor")]
    TooLong,
    /// Written by a relay of another kind.
    #[error("a cursor of version {0}, and this relay knows version {VERSION}")]
    UnknownVersion(u8),
}

/// LEB128: seven bits a byte, the lowest first.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, CursorError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(CursorError::Malformed)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(CursorError::Malformed);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(CursorError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snapshots() -> impl Strategy<Value = Snapshot> {
        (1u64..40, proptest::collection::btree_set(1u64..40, 0..8)).prop_map(|(xmax, open)| {
            Snapshot {
                xmax,
                in_progress: open.into_iter().filter(|xid| *xid < xmax).collect(),
            }
        })
    }

    fn cursors() -> impl Strategy<Value = Cursor> {
        (
            snapshots(),
            proptest::option::of((snapshots(), 0i64..5)),
            any::<u64>(),
        )
            .prop_map(|(seen, within, epoch)| Cursor {
                epoch: Epoch(epoch),
                within: within
                    .filter(|(to, _)| to.covers(&seen))
                    .map(|(to, last_id)| Within { to, last_id }),
                seen,
            })
    }

    #[test]
    fn a_transaction_that_postgres_cannot_have_is_no_cursor() {
        for seen in [Snapshot::new(0, vec![]), Snapshot::new(9, vec![0, 3])] {
            let cursor = Cursor::at(Epoch(1), seen.expect("in order"));
            assert_eq!(
                Cursor::decode(&cursor.encode()),
                Err(CursorError::Malformed)
            );
        }
    }

    proptest! {
        #[test]
        fn an_encoded_cursor_comes_back_as_it_was(cursor in cursors()) {
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        }

        #[test]
        fn postgres_text_comes_back_as_it_was(snapshot in snapshots()) {
            prop_assert_eq!(Snapshot::parse(&snapshot.to_string()), Ok(snapshot));
        }

        #[test]
        fn a_snapshot_covers_another_exactly_when_it_sees_all_that_the_other_sees(a in snapshots(), b in snapshots()) {
            let all = (0..50).all(|xid| !b.sees(xid) || a.sees(xid));
            prop_assert_eq!(a.covers(&b), all, "{} covers {}", a, b);
        }

        #[test]
        fn a_cursor_never_claims_to_cover_what_it_lacks(a in cursors(), b in cursors()) {
            if a.covers(&b) {
                for xid in 0..50 {
                    for id in 0..6 {
                        prop_assert!(!b.has(xid, id) || a.has(xid, id), "{a:?} {b:?} {xid} {id}");
                    }
                }
            }
        }

        #[test]
        fn garbage_is_refused_or_read_but_never_panics(text in "[A-Za-z0-9_-]{0,80}") {
            let _ = Cursor::decode(&text);
        }
    }

    #[test]
    fn a_thousand_open_writers_fit_into_a_header() {
        let seen = Snapshot {
            xmax: 9_000_000_000,
            in_progress: (0..1_000).map(|n| 8_999_000_000 + n * 997).collect(),
        };
        let cursor = Cursor::at(Epoch(u64::MAX), seen);
        assert!(cursor.encode().len() < 4_096, "{}", cursor.encode().len());
    }

    #[test]
    fn a_forged_cursor_is_refused_before_it_costs_anything() {
        let mut forged = vec![VERSION];
        forged.extend_from_slice(&[0; 8]);
        put_varint(&mut forged, u64::MAX);
        put_varint(&mut forged, u64::MAX);
        assert_eq!(
            Cursor::decode(&URL_SAFE_NO_PAD.encode(&forged)),
            Err(CursorError::TooLong)
        );
        assert_eq!(
            Cursor::decode(&"A".repeat(MAX_ENCODED_LENGTH + 1)),
            Err(CursorError::TooLong)
        );
        assert_eq!(Cursor::decode("AA"), Err(CursorError::UnknownVersion(0)));
    }
}
