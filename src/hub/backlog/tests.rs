//! A backlog as its members meet it.

use proptest::prelude::*;

use super::*;
use crate::event::tests::operation_event;

fn told(id: i64, entity: &str, revision: i64, status: &str) -> Told {
    let kind = match status {
        "" => "table.truncated",
        "completed" => "operation.completed",
        _ => "operation.progress",
    };
    let event = operation_event(id, entity, revision, kind, status, None);
    (Arc::new(event), false)
}

fn progress(id: i64, entity: &str) -> Told {
    told(id, entity, id, "in_progress")
}

/// A member, as its outbox has it.
struct Member<'a> {
    backlog: &'a Backlog,
    mode: Mode,
    number: u64,
    position: Position,
    wake: Arc<Notify>,
}

impl<'a> Member<'a> {
    fn of(backlog: &'a Backlog, mode: Mode, number: u64) -> Self {
        let wake = Arc::default();
        Self {
            backlog,
            mode,
            number,
            position: backlog.join(mode, number, &wake),
            wake,
        }
    }

    /// The ids of what it is handed; `None` where it is lost.
    fn take(&mut self) -> Option<Vec<i64>> {
        let (handed, position) =
            self.backlog
                .take(self.mode, self.position, self.number, &self.wake);
        self.position = position;
        let ids = |events: &[Told]| events.iter().map(|(event, _)| event.id).collect();
        match handed {
            Handed::Lost => None,
            Handed::Conflated(events, _) => Some(ids(&events)),
            Handed::Whole(batches) => Some(
                batches
                    .iter()
                    .flat_map(|batch| ids(&batch.events))
                    .collect::<Vec<_>>(),
            ),
        }
    }
}

fn backlog(max_bytes: usize) -> (Backlog, Arc<Losses>) {
    let losses = Arc::<Losses>::default();
    (Backlog::new("s".into(), max_bytes, losses.clone()), losses)
}

/// One batch; returns how many were woken.
fn push(backlog: &Backlog, events: Vec<Told>) -> usize {
    backlog.push(&"c".into(), events).len()
}

fn counts(losses: &Losses) -> [u64; 3] {
    [&losses.conflated, &losses.resets, &losses.overflows]
        .map(|count| count.load(Ordering::Relaxed))
}

/// What a reader of all of it would keep by itself.
fn conflated(events: &[Told]) -> Vec<i64> {
    let is_needless = |(number, (event, _)): (usize, &Told)| {
        events[number + 1..].iter().any(|(later, _)| {
            later.effect == Effect::Truncated
                || later.row.entity == event.row.entity && event.is_transient()
        })
    };
    let kept = events.iter().enumerate();
    kept.filter(|each| !is_needless(*each))
        .map(|(_, (event, _))| event.id)
        .collect()
}

#[test]
fn the_newest_of_a_row_stays_and_an_ending_goes_last() {
    let (backlog, _) = backlog(1 << 20);
    let mut member = Member::of(&backlog, Mode::Latest, 1);
    for event in [
        told(1, "a", 1, "in_progress"),
        told(2, "b", 1, "in_progress"),
        told(3, "a", 2, "completed"),
        told(4, "a", 3, "in_progress"),
        told(5, "b", 3, "in_progress"),
        told(6, "b", 2, "in_progress"),
    ] {
        push(&backlog, vec![event]);
    }
    assert_eq!(member.take(), Some(vec![3, 4, 5]));
}

#[test]
fn who_reads_each_batch_gets_it_whole_and_nothing_is_kept_then() {
    let (backlog, losses) = backlog(500);
    let mut members =
        [Mode::Latest, Mode::Every].map(|mode| Member::of(&backlog, mode, mode as u64));
    for first in [1, 11, 21] {
        let batch: Vec<_> = (first..first + 10).map(|id| progress(id, "a")).collect();
        assert_eq!(push(&backlog, batch), 2);
        for member in &mut members {
            assert_eq!(member.take(), Some((first..first + 10).collect()));
        }
        assert_eq!(backlog.bytes(), 0);
    }
    assert_eq!(counts(&losses), [0, 0, 0]);
}

#[test]
fn those_who_are_behind_are_no_work_and_keep_one_copy() {
    let (backlog, _) = backlog(1 << 20);
    let mut reads = Member::of(&backlog, Mode::Latest, 0);
    let behind: Vec<_> = (1..=1_000)
        .map(|number| Member::of(&backlog, Mode::Latest, number))
        .collect();
    assert_eq!(push(&backlog, vec![progress(1, "a")]), 1_001);
    for id in 2..=100 {
        reads.take();
        assert_eq!(push(&backlog, vec![progress(id, "a")]), 1, "only who waits");
    }
    assert!(backlog.bytes() < 1_000, "{}", backlog.bytes());
    for mut member in behind {
        assert_eq!(member.take(), Some(vec![100]));
    }
}

#[test]
fn a_slow_subscriber_to_the_latest_gets_one_event_a_row_and_it_is_counted() {
    let (backlog, losses) = backlog(20_000);
    let mut member = Member::of(&backlog, Mode::Latest, 1);
    for id in 1..=1_000 {
        push(&backlog, vec![progress(id, "a")]);
    }
    assert_eq!(member.take(), Some(vec![1_000]));
    assert_eq!(counts(&losses), [999, 0, 0]);
}

#[test]
fn a_backlog_beyond_the_bound_loses_those_furthest_behind_and_nobody_else() {
    for (mode, lost) in [(Mode::Latest, [0, 1, 0]), (Mode::Every, [0, 0, 1])] {
        let (backlog, losses) = backlog(5_000);
        let mut behind = Member::of(&backlog, mode, 1);
        push(&backlog, vec![progress(1, "row 1")]);
        let mut nearer = Member::of(&backlog, mode, 2);
        let mut last = 1;
        while counts(&losses) == [0, 0, 0] {
            last += 1;
            push(&backlog, vec![progress(last, &format!("row {last}"))]);
            assert!(backlog.bytes() <= 5_500, "{}", backlog.bytes());
        }
        assert_eq!(counts(&losses), lost);
        assert_eq!(nearer.take(), Some((2..=last).collect()));
        assert_eq!((behind.take(), behind.take()), (None, None));
        assert_eq!(backlog.bytes(), 0, "nothing is kept for who is lost");
    }
}

#[test]
fn beyond_the_bound_older_endings_go_first_but_not_those_that_another_lacks() {
    let (backlog, losses) = backlog(5_000);
    let mut behind = Member::of(&backlog, Mode::Latest, 1);
    for id in 1..=10 {
        push(&backlog, vec![told(id, "a", id, "completed")]);
    }
    let mut nearer = Member::of(&backlog, Mode::Latest, 2);
    push(&backlog, vec![told(11, "a", 11, "completed")]);
    push(&backlog, vec![told(12, "a", 12, "completed")]);
    let mut last = 12;
    while backlog.lock().latest.events.contains_key(&1) {
        last += 1;
        push(&backlog, vec![progress(last, &format!("row {last}"))]);
    }
    assert_eq!(counts(&losses), [0, 0, 0]);
    let near = nearer.take().expect("not lost");
    assert_eq!(near, (11..=last).collect::<Vec<_>>());
    assert!(behind.take().is_some_and(|ids| ids.ends_with(&near)));
}

#[test]
fn who_leaves_keeps_nothing() {
    let (backlog, _) = backlog(1 << 20);
    for mode in [Mode::Latest, Mode::Every] {
        let member = Member::of(&backlog, mode, 1);
        push(&backlog, vec![progress(1, "a")]);
        push(&backlog, vec![progress(2, "a")]);
        assert!(backlog.bytes() > 0);
        backlog.leave(mode, 1, member.position);
        assert_eq!(backlog.bytes(), 0);
    }
    assert_eq!(push(&backlog, vec![progress(3, "a")]), 0);
}

/// A batch of rows and statuses, and who takes after it.
type Step = (Vec<(u8, u8)>, [bool; 3]);

fn history() -> impl Strategy<Value = Vec<Step>> {
    let event = (0..5_u8, 0..12_u8);
    prop::collection::vec(
        (prop::collection::vec(event, 1..4), any::<[bool; 3]>()),
        1..40,
    )
}

proptest! {
    #[test]
    fn each_is_handed_what_conflating_what_it_lacks_would_give(history in history()) {
        let (backlog, _) = backlog(usize::MAX);
        let mut members = [1, 2, 3].map(|number| (Member::of(&backlog, Mode::Latest, number), Vec::new(), 0));
        let mut id = 0;
        for (batch, takes) in history {
            let batch: Vec<_> = batch.into_iter().map(|(row, status)| {
                id += 1;
                match status {
                    0 => told(id, "table", 0, ""),
                    1..=3 => told(id, &row.to_string(), id, "completed"),
                    _ => told(id, &row.to_string(), id, "in_progress"),
                }
            }).collect();
            push(&backlog, batch.clone());
            for ((member, lacks, batches), takes) in members.iter_mut().zip(takes) {
                lacks.extend(batch.iter().cloned());
                *batches += 1;
                if takes {
                    let all: Vec<_> = lacks.iter().map(|(event, _): &Told| event.id).collect();
                    let due = if *batches > 1 { conflated(lacks) } else { all };
                    prop_assert_eq!(member.take(), Some(due));
                    (*lacks, *batches) = (Vec::new(), 0);
                }
            }
        }
    }
}
