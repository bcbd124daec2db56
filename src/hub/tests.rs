//! The hub as a subscriber meets it: what was missed and what follows fit exactly.

use super::*;
use crate::cursor::{Epoch, Snapshot};
use crate::event::Topic;
use crate::event::tests::operation_event;
use crate::hub::mirror::MirrorLimits;

const EPOCH: Epoch = Epoch(1);

fn at(text: &str) -> Cursor {
    Cursor::at(EPOCH, Snapshot::parse(text).expect("a snapshot"))
}

fn complete() -> Completeness {
    Completeness {
        as_of: "2026-01-01T00:00:00Z".into(),
        learnt: Instant::now(),
    }
}

fn hub() -> Hub {
    let hub = Hub::new(HubLimits::default());
    hub.install(origin("100:100:"), ResetReason::CursorForeign);
    hub
}

fn origin(text: &str) -> Origin {
    let mirror = Mirror::new(MirrorLimits::default());
    Origin {
        mirror,
        cursor: at(text),
        recent: Vec::new(),
        recent_from: at(text),
        complete: complete(),
    }
}

/// Publishes events of the transactions `100 + id`.
fn publish(hub: &Hub, to: &str, ids: &[i64]) {
    let event = |id: &i64| {
        operation_event(
            *id,
            &format!("op{id}"),
            *id,
            "operation.progress",
            "in_progress",
            None,
        )
    };
    hub.publish(at(to), ids.iter().map(event).collect(), Some(complete()));
}

fn wanted(sub: &str) -> Wanted {
    Wanted {
        sub: sub.into(),
        filter: Filter::topics(Topic::ALL),
        mode: Mode::Every,
    }
}

/// The ids of the events in the frames, and the last cursor.
fn read(frames: &[Frame]) -> (Vec<i64>, Option<String>) {
    let mut ids = Vec::new();
    let mut cursor = None;
    for frame in frames {
        let frame: serde_json::Value = serde_json::from_str(&frame.json).expect("JSON");
        ids.extend(
            frame["events"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|event| event["id"].as_i64()),
        );
        cursor = frame["cursor"].as_str().map(str::to_owned).or(cursor);
    }
    (ids, cursor)
}

fn taken(subscriber: &Subscriber) -> Vec<Frame> {
    let frame = |outgoing| match outgoing {
        Outgoing::Frame(frame) => frame,
        other => panic!("expected a frame, got {other:?}"),
    };
    subscriber.take().into_iter().map(frame).collect()
}

fn attached(attached: Attached) -> Vec<Frame> {
    match attached {
        Attached::Live { frames, .. } => frames,
        other => panic!("expected to be live, got {other:?}"),
    }
}

#[test]
fn what_was_missed_and_what_follows_fit_exactly() {
    let hub = hub();
    publish(&hub, "102:104:102", &[1, 3]);
    let subscriber = hub.connect();
    let missed =
        attached(subscriber.subscribe(&wanted("s"), &Start::Since(Arc::new(at("100:102:")))));
    assert_eq!(read(&missed).0, [3]);
    publish(&hub, "105:105:", &[2, 4]);
    let (ids, cursor) = read(&taken(&subscriber));
    assert_eq!(ids, [2, 4]);
    assert_eq!(cursor, Some(at("105:105:").encode()));
}

#[test]
fn a_snapshot_is_the_state_at_its_cursor_and_is_shared() {
    let hub = hub();
    publish(&hub, "102:102:", &[1]);
    let frames: Vec<_> = (0..2)
        .map(|_| attached(hub.connect().subscribe(&wanted("s"), &Start::Snapshot)))
        .collect();
    let first: serde_json::Value = serde_json::from_str(&frames[0][0].json).expect("JSON");
    assert_eq!(first["operations"][0]["id"], "op1");
    assert_eq!(first["cursor"], at("102:102:").encode());
    assert_eq!(frames[0], frames[1]);
    let subscriber = hub.connect();
    attached(subscriber.subscribe(&wanted("s"), &Start::Snapshot));
    publish(&hub, "103:103:", &[2]);
    let next = attached(hub.connect().subscribe(&wanted("s"), &Start::Snapshot));
    assert!(
        next[0].json.contains("op2"),
        "an event makes the shared snapshot old: {next:?}"
    );
}

#[test]
fn cursors_from_elsewhere_are_told_apart() {
    let hub = Hub::new(HubLimits::default());
    let subscriber = hub.connect();
    let subscribe = |cursor| subscriber.subscribe(&wanted("s"), &Start::Since(Arc::new(cursor)));
    assert!(matches!(subscribe(at("100:100:")), Attached::NotReady));
    hub.install(origin("100:100:"), ResetReason::CursorForeign);
    assert!(matches!(subscribe(at("101:101:")), Attached::Ahead));
    assert!(matches!(subscribe(at("99:99:")), Attached::Behind(_)));
    let foreign = Cursor::at(Epoch(2), Snapshot::everything_below(100));
    assert!(matches!(subscribe(foreign), Attached::Foreign));
}

#[test]
fn a_reader_cut_off_between_two_pieces_resumes_without_a_gap_or_a_double() {
    let hub = hub();
    let big = |id: i64| {
        let entity = format!("{id}{}", "x".repeat(FRAME_BYTES / 3));
        operation_event(id, &entity, id, "operation.progress", "in_progress", None)
    };
    hub.publish(
        at("103:107:103"),
        vec![big(1), big(2), big(4), big(6)],
        Some(complete()),
    );
    hub.publish(
        at("108:108:"),
        vec![big(3), big(5), big(7)],
        Some(complete()),
    );
    let pieces = attached(
        hub.connect()
            .subscribe(&wanted("s"), &Start::Since(Arc::new(at("100:100:")))),
    );
    assert!(pieces.len() > 1);
    let mut got = Vec::new();
    for cut in 1..pieces.len() {
        let (before, cursor) = read(&pieces[..cut]);
        let cursor = Cursor::decode(&cursor.expect("each piece has a cursor")).expect("a cursor");
        let after = attached(
            hub.connect()
                .subscribe(&wanted("s"), &Start::Since(Arc::new(cursor))),
        );
        got = [before, read(&after).0].concat();
        assert_eq!(got, [1, 2, 3, 4, 5, 6, 7]);
    }
    assert_eq!(got.len(), 7);
}

#[test]
fn a_reader_cut_off_again_and_again_inside_what_it_missed_gets_everything_once() {
    let hub = hub();
    let big = |id: i64| {
        let entity = format!("{id}{}", "x".repeat(FRAME_BYTES / 3));
        operation_event(id, &entity, id, "operation.progress", "in_progress", None)
    };
    hub.publish(at("107:107:"), (1..=6).map(big).collect(), Some(complete()));
    let mut cursor = at("100:100:");
    let mut got = Vec::new();
    for later in 7..=12 {
        let pieces = attached(
            hub.connect()
                .subscribe(&wanted("s"), &Start::Since(Arc::new(cursor))),
        );
        let (ids, reached) = read(&pieces[..1]);
        got.extend(ids);
        cursor = Cursor::decode(&reached.expect("each piece has a cursor")).expect("a cursor");
        let to = format!("{0}:{0}:", 101 + later);
        hub.publish(at(&to), vec![big(later)], Some(complete()));
    }
    got.extend(
        read(&attached(
            hub.connect()
                .subscribe(&wanted("s"), &Start::Since(Arc::new(cursor))),
        ))
        .0,
    );
    assert_eq!(got, (1..=12).collect::<Vec<_>>());
}

#[test]
fn a_new_origin_resets_everyone_and_a_resync_makes_them_live_again() {
    let hub = hub();
    let subscriber = hub.connect();
    attached(subscriber.subscribe(&wanted("s"), &Start::Now));
    hub.install(origin("5:5:"), ResetReason::CursorForeign);
    assert!(matches!(
        &subscriber.take()[..],
        [Outgoing::Reset(_, ResetReason::CursorForeign)]
    ));
    assert!(
        subscriber.take_with_heartbeats().1.is_empty(),
        "no heartbeat before the snapshot"
    );
    subscriber.resync(&wanted("s"));
    publish(&hub, "7:7:", &[1]);
    assert_eq!(read(&taken(&subscriber)).0, [1]);
    assert_eq!(subscriber.take_with_heartbeats().1.len(), 1);
}

#[test]
fn who_follows_one_operation_or_owner_is_told_of_no_other() {
    let hub = hub();
    let filter = |ids: &[&str], owners: &[&str]| Filter {
        operation_ids: ids.iter().map(|id| (*id).into()).collect(),
        owners: owners.iter().map(|owner| (*owner).into()).collect(),
        ..Filter::topics([Topic::Operations])
    };
    let follow = |filter| {
        let subscriber = hub.connect();
        attached(subscriber.subscribe(
            &Wanted {
                filter,
                ..wanted("s")
            },
            &Start::Now,
        ));
        subscriber
    };
    let (one, owner, nobody) = (
        follow(filter(&["op2"], &[])),
        follow(filter(&[], &["o"])),
        follow(filter(&[], &["p"])),
    );
    publish(&hub, "105:105:", &[1, 2, 3]);
    assert_eq!(read(&taken(&one)).0, [2]);
    assert_eq!(read(&taken(&owner)).0, [1, 2, 3]);
    assert!(nobody.take().is_empty());
}

#[test]
fn what_has_been_unsubscribed_or_dropped_is_gone() {
    let hub = hub();
    let subscriber = hub.connect();
    attached(subscriber.subscribe(&wanted("s"), &Start::Now));
    assert_eq!(hub.subscribers(), 1);
    assert!(subscriber.unsubscribe("s"));
    assert!(!subscriber.unsubscribe("s"));
    attached(subscriber.subscribe(&wanted("t"), &Start::Now));
    drop(subscriber);
    assert_eq!(hub.subscribers(), 0);
}

#[test]
fn a_new_origin_makes_kept_snapshots_worthless() {
    let hub = hub();
    publish(&hub, "102:102:", &[1]);
    let _stays = {
        let s = hub.connect();
        attached(s.subscribe(&wanted("s"), &Start::Snapshot));
        s
    };
    hub.install(origin("500:500:"), ResetReason::LogTrimmed);
    let frames = attached(hub.connect().subscribe(&wanted("s"), &Start::Snapshot));
    assert!(!frames[0].json.contains("op1"), "stale: {}", frames[0].json);
    assert_eq!(read(&frames).1, Some(at("500:500:").encode()));
}

#[test]
fn those_who_start_again_together_share_their_snapshot() {
    let hub = hub();
    publish(&hub, "102:102:", &[1]);
    let subs: Vec<_> = (0..2)
        .map(|_| {
            let subscriber = hub.connect();
            attached(subscriber.subscribe(&wanted("s"), &Start::Now));
            subscriber
        })
        .collect();
    hub.install(origin("500:500:"), ResetReason::LogTrimmed);
    let frames: Vec<_> = subs.iter().map(|s| s.resync(&wanted("s"))).collect();
    assert!(std::sync::Arc::ptr_eq(
        &frames[0][0].json,
        &frames[1][0].json
    ));
}

#[test]
fn a_reader_cut_off_inside_an_interval_and_then_inside_the_next_gets_nothing_twice() {
    let hub = hub();
    let big = |id: i64| {
        operation_event(
            id,
            &format!("{id}{}", "x".repeat(FRAME_BYTES * 2 / 3)),
            id,
            "operation.progress",
            "in_progress",
            None,
        )
    };
    // The reader was cut off after the event 4 of an interval of 3, 4 and 5; the next one has 1 and 2.
    hub.publish(
        at("101:106:101,102"),
        vec![big(3), big(4), big(5)],
        Some(complete()),
    );
    hub.publish(at("106:106:"), vec![big(1), big(2)], Some(complete()));
    let since = Cursor {
        within: Some(Within {
            to: at("101:106:101,102").seen,
            last_id: 4,
        }),
        ..at("100:100:")
    };
    let had = [3, 4];
    let pieces = attached(
        hub.connect()
            .subscribe(&wanted("s"), &Start::Since(Arc::new(since))),
    );
    for cut in 1..pieces.len() {
        let (before, cursor) = read(&pieces[..cut]);
        let cursor = Cursor::decode(&cursor.expect("cursor")).expect("cursor");
        let after = attached(
            hub.connect()
                .subscribe(&wanted("s"), &Start::Since(Arc::new(cursor))),
        );
        let mut all = [had.to_vec(), before, read(&after).0].concat();
        all.sort();
        assert_eq!(all, [1, 2, 3, 4, 5], "cut {cut}");
    }
}
