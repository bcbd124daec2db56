use std::time::{Duration, Instant};

use super::*;
use serde_json::{Value, json};

fn now() -> Now {
    Now {
        instant: Instant::now(),
        wall: "2026-11-21T05:00:00Z".parse().expect("an instant"),
    }
}

fn connected(snapshot_follows: bool) -> State {
    let mut state = State::new(None, false, None);
    state.connected(now(), snapshot_follows);
    state
}

fn apply(state: &mut State, frame: Value) -> Vec<Effect> {
    apply_at(state, frame, now())
}

fn apply_at(state: &mut State, frame: Value, now: Now) -> Vec<Effect> {
    let frame = Frame::read(&frame.to_string()).expect("a frame of the protocol");
    state.apply(frame, now)
}

fn operation(id: &str, status: &str) -> Value {
    json!({ "id": id, "operation_type": "full_sync", "status": status, "processed_items": 1, "revision": 1 })
}

fn event(topic: &str, kind: &str, entity: &str, revision: i64, data: Value) -> Value {
    json!({ "id": 1, "topic": topic, "type": kind, "entity": entity, "revision": revision, "at": "x", "data": data })
}

fn events(cursor: &str, events: &[Value]) -> Value {
    json!({ "type": "events", "sub": "default", "cursor": cursor, "events": events })
}

fn progress(id: &str, revision: i64, status: &str) -> Value {
    event(
        "operations",
        "operation.progress",
        id,
        revision,
        operation(id, status),
    )
}

fn snapshot(cursor: Option<&str>, part: u32, parts: u32, operations: &[Value]) -> Value {
    json!({ "type": "snapshot", "sub": "default", "part": part, "parts": parts, "cursor": cursor,
            "operations": operations, "connections": [], "health": null })
}

fn held(state: &State) -> Vec<&str> {
    let mut ids: Vec<_> = state.operations.keys().map(String::as_str).collect();
    ids.sort_unstable();
    ids
}

fn ended(effects: &[Effect]) -> Vec<&str> {
    let ended = effects.iter().filter_map(|effect| match effect {
        Effect::Ended(operation) => Some(operation.id.as_str()),
        _ => None,
    });
    ended.collect()
}

fn told_events(effects: &[Effect]) -> Vec<Option<&str>> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Event { cursor, .. } => Some(cursor.as_deref()),
        _ => None,
    });
    told.collect()
}

fn is_finished(effects: &[Effect]) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Finished))
}

#[test]
fn an_event_older_than_what_is_held_changes_nothing_and_is_not_told() {
    let mut state = connected(false);
    apply(&mut state, events("c1", &[progress("a", 7, "paused")]));
    let effects = apply(&mut state, events("c2", &[progress("a", 6, "in_progress")]));
    assert!(told_events(&effects).is_empty());
    assert_eq!(state.operations["a"].operation.status, "paused");
    assert_eq!(
        state.cursor.as_deref(),
        Some("c2"),
        "the cursor moves all the same"
    );
}

#[test]
fn an_event_older_than_the_deletion_does_not_bring_the_row_back() {
    let mut state = connected(false);
    let deletion = event(
        "operations",
        "operation.deleted",
        "a",
        9,
        operation("a", "in_progress"),
    );
    apply(
        &mut state,
        events("c1", &[progress("a", 7, "in_progress"), deletion]),
    );
    let effects = apply(&mut state, events("c2", &[progress("a", 8, "in_progress")]));
    assert!(held(&state).is_empty());
    assert!(told_events(&effects).is_empty());
}

#[test]
fn only_the_last_event_of_a_frame_carries_the_frames_cursor() {
    let mut state = connected(false);
    let three = [
        progress("a", 2, "in_progress"),
        progress("b", 2, "in_progress"),
        progress("a", 1, "pending"),
    ];
    let effects = apply(&mut state, events("c1", &three));
    assert_eq!(
        told_events(&effects),
        [None, Some("c1")],
        "the third is older and not told"
    );
}

#[test]
fn an_operation_ends_once_however_often_its_row_changes_afterwards() {
    let mut state = connected(false);
    apply(&mut state, events("c1", &[progress("a", 1, "in_progress")]));
    let completed = event(
        "operations",
        "operation.completed",
        "a",
        2,
        operation("a", "completed"),
    );
    let effects = apply(
        &mut state,
        events("c2", &[completed, progress("a", 3, "completed")]),
    );
    assert_eq!(ended(&effects), ["a"]);
    assert!(held(&state).is_empty());
}

#[test]
fn an_operation_that_has_left_the_filter_is_dropped_and_its_end_is_told() {
    let mut state = connected(false);
    apply(
        &mut state,
        events(
            "c1",
            &[
                progress("a", 1, "in_progress"),
                progress("b", 1, "in_progress"),
            ],
        ),
    );
    let mut completed = event(
        "operations",
        "operation.completed",
        "a",
        2,
        operation("a", "completed"),
    );
    completed["left"] = json!(true);
    let mut moved = progress("b", 2, "in_progress");
    moved["left"] = json!(true);
    let effects = apply(&mut state, events("c2", &[completed, moved]));
    assert_eq!(ended(&effects), ["a"]);
    assert!(held(&state).is_empty());
}

#[test]
fn two_errors_of_one_operation_are_both_told_whatever_their_revisions() {
    let mut state = connected(false);
    let error = |id: i64, revision: i64| {
        let data = json!({ "id": id, "operation_id": "a", "message": "no" });
        event("errors", "error.recorded", "a", revision, data)
    };
    let effects = apply(
        &mut state,
        events("c1", &[error(1, 20), error(2, 10), error(1, 19)]),
    );
    let failed = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::ItemFailed(..)))
        .count();
    assert_eq!(failed, 2);
}

#[test]
fn an_operation_in_the_past_of_the_first_snapshot_is_not_told_as_an_end() {
    let mut state = connected(true);
    let rows = [operation("a", "completed"), operation("b", "in_progress")];
    let effects = apply(&mut state, snapshot(Some("c1"), 1, 1, &rows));
    assert!(ended(&effects).is_empty());
    assert_eq!(held(&state), ["b"]);
}

#[test]
fn a_later_snapshot_tells_what_ended_meanwhile_and_drops_what_it_lacks() {
    let mut state = connected(true);
    let active = ["a", "b", "c"].map(|id| operation(id, "in_progress"));
    apply(&mut state, snapshot(Some("c1"), 1, 1, &active));
    apply(
        &mut state,
        json!({ "type": "reset", "sub": "default", "reason": "cursor_expired", "message": "m" }),
    );
    let first = apply(
        &mut state,
        snapshot(None, 1, 2, &[operation("a", "failed")]),
    );
    assert_eq!(ended(&first), ["a"]);
    assert_eq!(
        held(&state),
        ["b", "c"],
        "only a whole snapshot can lack something"
    );
    let second = apply(
        &mut state,
        snapshot(Some("c2"), 2, 2, &[operation("b", "paused")]),
    );
    let vanished = second
        .iter()
        .filter(|effect| matches!(effect, Effect::Vanished(_)))
        .count();
    assert_eq!((vanished, held(&state)), (1, vec!["b"]));
}

#[test]
fn no_cursor_is_kept_before_the_snapshot_is_whole() {
    let mut state = connected(true);
    apply(
        &mut state,
        json!({ "type": "subscribed", "sub": "default" }),
    );
    apply(&mut state, snapshot(None, 1, 2, &[]));
    assert_eq!(
        state.cursor, None,
        "resuming here would skip the rest of the snapshot"
    );
    apply(&mut state, snapshot(Some("c0"), 2, 2, &[]));
    assert_eq!(state.cursor.as_deref(), Some("c0"));
    apply(
        &mut state,
        json!({ "type": "heartbeat", "sub": "default", "cursor": "c1" }),
    );
    assert_eq!(state.cursor.as_deref(), Some("c1"));
}

#[test]
fn what_is_read_for_others_only_moves_the_cursor_too() {
    let mut state = connected(false);
    let catching_up = |cursor| json!({ "type": "catching_up", "sub": "default", "cursor": cursor });
    apply(&mut state, catching_up(Some("c1")));
    assert_eq!(state.cursor.as_deref(), Some("c1"));
    let reset =
        json!({ "type": "reset", "sub": "default", "reason": "log_trimmed", "message": "m" });
    apply(&mut state, reset);
    apply(&mut state, catching_up(None));
    assert_eq!(state.cursor, None, "nothing to resume from");
}

#[test]
fn a_reset_forgets_the_cursor_until_the_snapshot_that_follows() {
    let mut state = connected(false);
    apply(&mut state, events("c1", &[progress("a", 1, "in_progress")]));
    let reset =
        json!({ "type": "reset", "sub": "default", "reason": "log_trimmed", "message": "m" });
    let effects = apply(&mut state, reset);
    assert!(matches!(&effects[..], [Effect::Reset(reset)] if reset.reason == "log_trimmed"));
    assert_eq!(state.cursor, None);
}

#[test]
fn after_a_reset_the_snapshot_counts_even_if_its_revisions_are_lower() {
    let mut state = connected(false);
    apply(
        &mut state,
        events("c1", &[progress("a", 1_000, "in_progress")]),
    );
    let reset =
        json!({ "type": "reset", "sub": "default", "reason": "cursor_foreign", "message": "m" });
    apply(&mut state, reset);
    apply(
        &mut state,
        snapshot(Some("c2"), 1, 1, &[operation("a", "paused")]),
    );
    assert_eq!(state.operations["a"].operation.status, "paused");
}

#[test]
fn a_truncated_table_drops_its_operations_and_lets_them_begin_anew() {
    let mut state = connected(false);
    apply(&mut state, events("c1", &[progress("a", 7, "in_progress")]));
    let truncated = event(
        "operations",
        "table.truncated",
        "sync_operations",
        0,
        json!({ "table": "sync_operations" }),
    );
    let effects = apply(&mut state, events("c2", &[truncated]));
    assert!(held(&state).is_empty());
    assert_eq!(told_events(&effects), [Some("c2")]);
    apply(&mut state, events("c3", &[progress("a", 1, "in_progress")]));
    assert_eq!(held(&state), ["a"]);
}

#[test]
fn a_connection_is_told_only_when_its_status_changes() {
    let mut state = connected(false);
    let report = |revision: i64, status: &str| {
        let data = json!({ "client_id": "app", "status": status, "source": "app" });
        event("connections", "connection.changed", "app", revision, data)
    };
    let frames = [
        report(1, "connected"),
        report(2, "connected"),
        report(3, "error"),
    ];
    let effects = apply(&mut state, events("c1", &frames));
    let told = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Connection(_)))
        .count();
    assert_eq!(told, 2);
    assert_eq!(
        told_events(&effects).len(),
        3,
        "as events they are all told"
    );
}

#[test]
fn health_is_told_when_its_status_changes_and_kept_always() {
    let mut state = connected(false);
    let taken = |id: &str, status: &str, score: f64| {
        event(
            "health",
            "health.snapshot",
            id,
            1,
            json!({ "id": id, "status": status, "score": score }),
        )
    };
    let frames = [
        taken("1", "healthy", 99.0),
        taken("2", "healthy", 97.0),
        taken("3", "critical", 10.0),
    ];
    let effects = apply(&mut state, events("c1", &frames));
    let told = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Health(_)))
        .count();
    assert_eq!(told, 2);
    assert_eq!(
        state.health.as_ref().and_then(|health| health.score),
        Some(10.0)
    );
}

#[test]
fn silence_for_more_than_two_heartbeats_is_stale_and_a_heartbeat_ends_it() {
    let mut state = State::new(None, false, None);
    let start = now();
    state.connected(start, false);
    apply_at(
        &mut state,
        json!({ "type": "hello", "protocol": 1, "heartbeat_interval_ms": 5000 }),
        start,
    );
    let after = |seconds: u64| Now {
        instant: start.instant + Duration::from_secs(seconds),
        ..start
    };
    assert_eq!(state.contact.stale_for(after(10)), None);
    assert_eq!(
        state.contact.stale_for(after(11)),
        Some(Duration::from_secs(11))
    );
    apply_at(
        &mut state,
        json!({ "type": "heartbeat", "sub": "default", "cursor": "c" }),
        after(11),
    );
    assert_eq!(state.contact.stale_for(after(12)), None);
}

#[test]
fn the_databases_clock_is_known_from_heartbeats() {
    let mut state = connected(false);
    let heartbeat = json!({ "type": "heartbeat", "sub": "default", "cursor": "c",
                            "complete_as_of": "2026-11-21T04:59:00Z", "lag_ms": 1000 });
    apply(&mut state, heartbeat);
    assert_eq!(
        state.contact.database_time(now()).to_string(),
        "2026-11-21T04:59:01Z"
    );
}

#[test]
fn the_relays_own_status_is_told_when_it_changes() {
    let mut state = connected(false);
    let mut says = |status: &str| {
        let effects = apply(
            &mut state,
            json!({ "type": "status", "status": status, "since": "2026-11-21T05:00:00Z" }),
        );
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Relay(_)))
    };
    assert_eq!(
        ["live", "live", "degraded", "degraded", "live"].map(&mut says),
        [false, false, true, false, true]
    );
}

#[test]
fn waiting_is_finished_when_all_operations_have_ended_and_says_how() {
    let ids = ["a", "b", "c"].map(str::to_owned).to_vec();
    let mut state = State::new(None, false, Some(ids));
    state.connected(now(), true);
    let rows = [operation("a", "completed"), operation("b", "in_progress")];
    let effects = apply(&mut state, snapshot(Some("c1"), 1, 1, &rows));
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::LookUp(ids) if ids == &["c"]))
    );
    assert!(!is_finished(&effects));
    let failed = event(
        "operations",
        "operation.failed",
        "b",
        2,
        operation("b", "failed"),
    );
    assert!(!is_finished(&apply(&mut state, events("c2", &[failed]))));
    let cancelled = serde_json::from_value(operation("c", "cancelled")).expect("a row");
    assert!(is_finished(&state.looked_up("c", Some(cancelled))));
    let awaited = state.awaited.expect("something was waited for");
    assert_eq!(
        (awaited.failed, awaited.cancelled, awaited.deleted),
        (1, 1, 0)
    );
}

#[test]
fn waiting_is_finished_when_the_operation_is_deleted_or_its_table_emptied() {
    let truncated = event(
        "operations",
        "table.truncated",
        "sync_operations",
        0,
        json!({}),
    );
    let deleted = event(
        "operations",
        "operation.deleted",
        "a",
        9,
        operation("a", "in_progress"),
    );
    for end in [truncated, deleted] {
        let mut state = State::new(None, false, Some(vec!["a".to_owned()]));
        state.connected(now(), false);
        assert!(is_finished(&apply(&mut state, events("c1", &[end]))));
        assert_eq!(state.awaited.map(|awaited| awaited.deleted), Some(1));
    }
}

#[test]
fn looking_once_is_finished_with_the_snapshot() {
    let mut state = State::new(None, true, None);
    state.connected(now(), true);
    assert!(!is_finished(&apply(&mut state, snapshot(None, 1, 2, &[]))));
    assert!(is_finished(&apply(
        &mut state,
        snapshot(Some("c"), 2, 2, &[])
    )));
}
