//! What was last known of each row, in bounded memory: enough to pass over what is older.

use std::collections::{HashMap, VecDeque};

/// A row: its topic, and what names it there.
pub(super) type Key = (String, String);

/// The newest revision of each row, and its status. Of more rows than it may hold it forgets those that it met first.
#[derive(Debug)]
pub(super) struct Revisions {
    known: HashMap<Key, Known>,
    /// The keys of `known`, in the order in which they were met.
    order: VecDeque<Key>,
    most: usize,
}

/// What is known of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    revision: i64,
    status: Option<String>,
}

/// What became of a revision that was offered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is older than what is known.
    Older,
    /// It is the newest; this was the row's status before, where that is known.
    Newest {
        /// The status that the row had.
        status_before: Option<String>,
    },
}

impl Revisions {
    pub(super) fn new(most: usize) -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
            most,
        }
    }

    /// Offers a revision of a row, and the row's status in it.
    pub(super) fn offer(&mut self, key: Key, revision: i64, status: Option<String>) -> Taken {
        if let Some(known) = self.known.get_mut(&key) {
            if revision < known.revision {
                return Taken::Older;
            }
            known.revision = revision;
            let status_before = std::mem::replace(&mut known.status, status);
            return Taken::Newest { status_before };
        }
        self.order.push_back(key.clone());
        self.known.insert(key, Known { revision, status });
        if self.order.len() > self.most
            && let Some(first) = self.order.pop_front()
        {
            self.known.remove(&first);
        }
        Taken::Newest {
            status_before: None,
        }
    }

    /// Forgets all rows.
    pub(super) fn forget_all(&mut self) {
        self.known.clear();
        self.order.clear();
    }

    /// Forgets all rows of a topic.
    pub(super) fn forget_topic(&mut self, topic: &str) {
        self.known.retain(|(of, _), _| of != topic);
        self.order.retain(|(of, _)| of != topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("operations".to_owned(), name.to_owned())
    }

    fn newest(status: Option<&str>) -> Taken {
        Taken::Newest {
            status_before: status.map(str::to_owned),
        }
    }

    #[test]
    fn an_older_revision_is_refused_and_the_same_or_a_newer_one_is_taken() {
        let mut revisions = Revisions::new(10);
        assert_eq!(
            revisions.offer(key("a"), 5, Some("pending".into())),
            newest(None)
        );
        assert_eq!(revisions.offer(key("a"), 4, None), Taken::Older);
        assert_eq!(
            revisions.offer(key("a"), 5, Some("paused".into())),
            newest(Some("pending"))
        );
        assert_eq!(revisions.offer(key("a"), 6, None), newest(Some("paused")));
        assert_eq!(revisions.offer(key("b"), 1, None), newest(None));
    }

    #[test]
    fn memory_is_bounded_and_forgets_what_it_met_first() {
        let mut revisions = Revisions::new(2);
        for name in ["a", "b", "c"] {
            revisions.offer(key(name), 9, None);
        }
        assert_eq!(revisions.known.len(), 2);
        assert_eq!(revisions.order.len(), 2);
        assert_eq!(revisions.offer(key("c"), 8, None), Taken::Older);
        assert_eq!(revisions.offer(key("a"), 8, None), newest(None));
    }

    #[test]
    fn a_truncated_table_forgets_its_rows_and_no_others() {
        let mut revisions = Revisions::new(10);
        let other = ("connections".to_owned(), "a".to_owned());
        revisions.offer(key("a"), 9, None);
        revisions.offer(other.clone(), 9, None);
        revisions.forget_topic("operations");
        assert_eq!(revisions.offer(key("a"), 1, None), newest(None));
        assert_eq!(revisions.offer(other, 1, None), Taken::Older);
    }
}
