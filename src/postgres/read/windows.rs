//! Ranges of event ids to look through, for those who read a part of a long log.
//!
//! The log's index on ids is a coarse one (see `0003_timeline_index.sql`), and it finds a range of ids for little. Whoever
//! wants the next few of many events, and does not know how densely they lie, looks in windows that grow: where they are
//! dense the first one has enough, where they are few two or three reach to the end of the log.

use std::ops::RangeInclusive;

/// The few events must be found by the index whatever the planner knows of a log that grows all the time. The lock comes
/// before the snapshot: one that is older than a truncation would find a slot empty, and the log not trimmed.
pub(crate) const FIND_EVENTS_BY_INDEX: &str =
    "SET LOCAL enable_seqscan = off; LOCK TABLE bellwether.event IN ACCESS SHARE MODE";

/// Ranges of ids, one after another in the chosen direction and each larger than the one before, that together are all
/// ids after the start. Between `oldest` and `newest` lie most events, but ids and transactions are not quite in step:
/// so the outermost ranges are open.
#[derive(Debug)]
pub(crate) struct Windows {
    newest_first: bool,
    /// The next id to be covered; `None` when all are.
    next: Option<i64>,
    /// The next range ends this far from here.
    from: i64,
    width: i64,
    growth: i64,
    /// Beyond this id the range is open.
    last: i64,
}

impl Windows {
    /// All ids after this one in the chosen direction, or simply all; the first window has `width` of them, each further
    /// one `growth` times as many as the one before.
    pub(crate) fn new(
        newest_first: bool,
        after: Option<i64>,
        (oldest, newest): (i64, i64),
        (width, growth): (i64, i64),
    ) -> Self {
        let (first, last) = if newest_first {
            (newest, oldest)
        } else {
            (oldest, newest)
        };
        let (next, from) = match (after, newest_first) {
            (None, false) => (Some(i64::MIN), first),
            (None, true) => (Some(i64::MAX), first),
            (Some(after), false) => (after.checked_add(1), after.max(first)),
            (Some(after), true) => (after.checked_sub(1), after.min(first)),
        };
        Self {
            newest_first,
            next,
            from,
            width,
            growth,
            last,
        }
    }
}

impl Iterator for Windows {
    type Item = RangeInclusive<i64>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next?;
        let window = if self.newest_first {
            let end = self.from.saturating_sub(self.width);
            let end = if end <= self.last { i64::MIN } else { end };
            self.next = end.checked_sub(1);
            self.from = end;
            end..=start
        } else {
            let end = self.from.saturating_add(self.width);
            let end = if end >= self.last { i64::MAX } else { end };
            self.next = end.checked_add(1);
            self.from = end;
            start..=end
        };
        self.width = self.width.saturating_mul(self.growth);
        Some(window)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn windows_cover_every_id_after_the_start_once_and_in_order(
            newest_first: bool,
            after in proptest::option::of(any::<i64>()),
            oldest in 0..i64::MAX,
            length in 0..10_000_000_i64,
        ) {
            let windows: Vec<_> = Windows::new(newest_first, after, (oldest, oldest.saturating_add(length)), (10_000, 64)).collect();
            prop_assert!(windows.len() < 24);
            let mut expected = match (after, newest_first) {
                (None, false) => Some(i64::MIN),
                (None, true) => Some(i64::MAX),
                (Some(after), false) => after.checked_add(1),
                (Some(after), true) => after.checked_sub(1),
            };
            for window in windows {
                let (near, far) = if newest_first {
                    (*window.end(), *window.start())
                } else {
                    (*window.start(), *window.end())
                };
                prop_assert_eq!(Some(near), expected);
                prop_assert!(window.start() <= window.end());
                expected = if newest_first { far.checked_sub(1) } else { far.checked_add(1) };
            }
            prop_assert_eq!(expected, None);
        }
    }

    #[test]
    fn the_first_window_of_a_page_is_a_small_one() {
        let mut windows = Windows::new(false, None, (1_000_000, 9_000_000), (10_000, 64));
        assert_eq!(windows.next(), Some(i64::MIN..=1_010_000));
        assert_eq!(windows.next(), Some(1_010_001..=1_650_000));
        let mut windows = Windows::new(true, Some(5_000_000), (1_000_000, 9_000_000), (10_000, 64));
        assert_eq!(windows.next(), Some(4_990_000..=4_999_999));
    }
}
