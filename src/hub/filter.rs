//! What a subscription wants, and whether an event is it.

use std::collections::BTreeSet;

use crate::event::{Effect, Event, Keys, Row, Topic};

/// What a subscription wants: each list that is not empty must name the row's value. Equal filters share the work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Which tables.
    pub topics: BTreeSet<Topic>,
    /// Which operations, by id; concerns operations and their errors.
    pub operation_ids: BTreeSet<Box<str>>,
    /// Whose operations; concerns operations and their errors.
    pub owners: BTreeSet<Box<str>>,
    /// Which kinds of operations; concerns operations and their errors.
    pub operation_types: BTreeSet<Box<str>>,
    /// Which statuses; concerns operations and connections.
    pub statuses: BTreeSet<Box<str>>,
    /// Which sources; concerns operations, their errors and connections.
    pub sources: BTreeSet<Box<str>>,
}

/// Whether a subscription gets an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does not: the row matched neither before nor after.
    No,
    /// It does: the row matches.
    Matches,
    /// It does, to learn that the row matches no longer.
    Left,
}

impl Filter {
    /// The filter that lets everything of these topics through.
    pub fn topics(topics: impl IntoIterator<Item = Topic>) -> Self {
        Self {
            topics: topics.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Whether the subscription gets the event.
    pub fn verdict(&self, event: &Event) -> Verdict {
        if event.effect == Effect::Truncated && self.topics.contains(&event.topic) {
            return Verdict::Matches;
        }
        let matches = |keys| self.matches_keys(event.topic, &event.row.entity, keys);
        if matches(&event.row.keys) {
            Verdict::Matches
        } else if event.before.as_deref().is_some_and(matches) {
            Verdict::Left
        } else {
            Verdict::No
        }
    }

    /// Whether the row as it is belongs into the subscription's snapshot.
    pub fn matches(&self, topic: Topic, row: &Row) -> bool {
        self.matches_keys(topic, &row.entity, &row.keys)
    }

    fn matches_keys(&self, topic: Topic, entity: &str, keys: &Keys) -> bool {
        let wants = |list: &BTreeSet<Box<str>>, value: Option<&str>| {
            list.is_empty() || value.is_some_and(|value| list.contains(value))
        };
        let status = || wants(&self.statuses, keys.status.as_deref());
        let source = || wants(&self.sources, keys.source.as_deref());
        let operation = || {
            wants(&self.operation_ids, Some(entity))
                && wants(&self.owners, keys.owner.as_deref())
                && wants(&self.operation_types, keys.operation_type.as_deref())
        };
        self.topics.contains(&topic)
            && match topic {
                Topic::Operations => operation() && status() && source(),
                Topic::Errors => operation() && source(),
                Topic::Connections => status() && source(),
                Topic::Health => true,
            }
    }

    /// Whether the filter can only ever match operations and their errors.
    pub fn is_about_operations(&self) -> bool {
        self.topics
            .iter()
            .all(|topic| matches!(topic, Topic::Operations | Topic::Errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::operation_event;
    use crate::event::{LogRow, Payload};

    fn in_progress() -> Filter {
        Filter {
            statuses: ["in_progress".into()].into(),
            ..Filter::topics(Topic::ALL)
        }
    }

    #[test]
    fn a_row_that_leaves_the_filter_is_told_once_and_then_no_more() {
        let event = |kind, status, old| operation_event(1, "a", 1, kind, status, old);
        assert_eq!(
            in_progress().verdict(&event("operation.progress", "in_progress", None)),
            Verdict::Matches
        );
        assert_eq!(
            in_progress().verdict(&event(
                "operation.completed",
                "completed",
                Some("in_progress")
            )),
            Verdict::Left
        );
        assert_eq!(
            in_progress().verdict(&event("operation.progress", "completed", None)),
            Verdict::No
        );
        assert_eq!(
            in_progress().verdict(&event("operation.started", "in_progress", Some("pending"))),
            Verdict::Matches
        );
    }

    #[test]
    fn a_row_that_had_no_owner_does_not_leave_the_one_who_gets_it_as_it_ends() {
        let ended = |old_owner: Option<&str>| {
            Event::new(LogRow {
                id: 1,
                xid: 1,
                at: "2026-01-02T03:04:05Z",
                revision: 2,
                topic: "operations",
                kind: "operation.completed",
                entity: "a",
                old: Keys {
                    owner: old_owner.map(Into::into),
                    status: Some("in_progress".into()),
                    ..Keys::default()
                },
                payload: Payload::Json(r#"{"id":"a","status":"completed","owner":"o","operation_type":"t","source":null}"#),
            })
            .expect("an event")
        };
        let running_of = |owner: &str| Filter {
            owners: [owner.into()].into(),
            ..in_progress()
        };
        assert_eq!(running_of("o").verdict(&ended(Some(""))), Verdict::No);
        assert_eq!(running_of("o").verdict(&ended(None)), Verdict::Left);
        assert_eq!(running_of("o").verdict(&ended(Some("p"))), Verdict::No);
        assert_eq!(running_of("p").verdict(&ended(Some("p"))), Verdict::Left);
    }

    #[test]
    fn lists_are_joined_by_and_their_values_by_or() {
        let event = operation_event(1, "a", 1, "operation.progress", "in_progress", None);
        let filter = |owners: &[&str]| Filter {
            owners: owners.iter().map(|owner| (*owner).into()).collect(),
            ..in_progress()
        };
        assert_eq!(filter(&["x", "o"]).verdict(&event), Verdict::Matches);
        assert_eq!(filter(&["x"]).verdict(&event), Verdict::No);
    }

    #[test]
    fn an_emptied_table_is_told_to_everyone_of_its_topic() {
        let event = operation_event(1, "sync_operations", 0, "table.truncated", "", None);
        assert_eq!(in_progress().verdict(&event), Verdict::Matches);
        assert_eq!(Filter::topics([Topic::Health]).verdict(&event), Verdict::No);
    }
}
