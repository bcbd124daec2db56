use std::time::Duration;

use super::*;
use crate::tail::frame::{Frame, Status};

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn now() -> Now {
    Now {
        instant: Instant::now(),
        wall: at("2026-11-21T05:00:00Z"),
    }
}

fn operation() -> Operation {
    Operation {
        id: "5a".to_owned(),
        operation_type: "full_sync".to_owned(),
        status: "in_progress".to_owned(),
        total_items: Some(400),
        processed_items: 123,
        failed_items: 3,
        owner: Some("alice".to_owned()),
        source: Some("/usr/share/doc".to_owned()),
        items_per_second: Some(48.2),
        estimated_completion_at: Some(at("2026-11-21T05:00:07Z")),
        current_item: Some("gcc/README".to_owned()),
        ..Operation::default()
    }
}

#[test]
fn beside_a_bar_stand_counts_rate_time_left_and_the_item_in_hand() {
    let text = beside_bar(&operation(), Some(now().wall));
    assert_eq!(text, "123/400, 3 failed · 48/s · 7.0 s left · gcc/README");
}

#[test]
fn nothing_is_said_of_rate_and_time_while_what_is_known_may_be_old() {
    let text = beside_bar(&operation(), None);
    assert_eq!(text, "123/400, 3 failed · gcc/README");
}

#[test]
fn an_estimate_that_has_passed_is_not_shown_as_a_negative_time() {
    let late = Operation {
        estimated_completion_at: Some(at("2026-11-21T04:59:00Z")),
        ..operation()
    };
    assert!(beside_bar(&late, Some(now().wall)).contains("any moment"));
}

#[test]
fn without_a_total_there_is_a_count_and_no_estimate() {
    let unknown = Operation {
        total_items: None,
        estimated_completion_at: None,
        current_item: None,
        ..operation()
    };
    assert_eq!(
        beside_bar(&unknown, Some(now().wall)),
        "123, 3 failed · 48/s"
    );
}

#[test]
fn a_paused_and_a_stalled_operation_say_so_instead_of_a_time() {
    let paused = Operation {
        status: "paused".to_owned(),
        ..operation()
    };
    assert_eq!(
        beside_bar(&paused, Some(now().wall)),
        "123/400, 3 failed · paused · gcc/README"
    );
    let stalled = Operation {
        stalled_since: Some(at("2026-11-21T04:58:00Z")),
        ..operation()
    };
    assert!(beside_bar(&stalled, Some(now().wall)).contains("stalled for 2 min 0 s"));
}

#[test]
fn an_ended_operation_leaves_one_line_with_mark_duration_and_reason() {
    let end = |status: &str, error: Option<&str>| {
        let operation = Operation {
            status: status.to_owned(),
            duration_seconds: Some(12.3),
            error: error.map(str::to_owned),
            message: Some("said last".to_owned()),
            ..operation()
        };
        of_effect(&Effect::Ended(operation), false).expect("a line")
    };
    let name = "full_sync /usr/share/doc (alice)";
    assert_eq!(
        end("completed", None),
        format!("✓ {name} completed after 12 s: 123/400, 3 failed")
    );
    assert_eq!(
        end("failed", Some("no disk")),
        format!("✗ {name} failed after 12 s: 123/400, 3 failed: no disk")
    );
    assert_eq!(
        end("cancelled", None),
        format!("⊘ {name} cancelled after 12 s: 123/400, 3 failed: said last")
    );
}

#[test]
fn no_text_from_elsewhere_reaches_a_line_with_its_control_characters() {
    let hostile = || "x\x1b[2J\n✓ faked".to_owned();
    let operation = Operation {
        operation_type: hostile(),
        status: hostile(),
        owner: Some(hostile()),
        source: Some(hostile()),
        current_item: Some(hostile()),
        error: Some(hostile()),
        ..operation()
    };
    let error = ItemError {
        item: Some(hostile()),
        message: hostile(),
        code: Some(hostile()),
        ..ItemError::default()
    };
    let connection = Connection {
        client_id: hostile(),
        status: hostile(),
        source: hostile(),
        ..Connection::default()
    };
    let health = Health {
        status: hostile(),
        ..Health::default()
    };
    let status = Status {
        status: hostile(),
        since: None,
        reason: Some(hostile()),
    };
    let effects = [
        Effect::Begun(operation.clone()),
        Effect::Ended(operation.clone()),
        Effect::Vanished(operation.clone()),
        Effect::ItemFailed(error, Some(operation.clone())),
        Effect::Connection(connection),
        Effect::Health(health.clone()),
        Effect::Truncated(hostile()),
        Effect::Relay(status.clone()),
        Effect::Note(hostile()),
    ];
    let mut lines: Vec<String> = effects
        .iter()
        .map(|effect| of_effect(effect, true).expect("a line"))
        .collect();
    lines.extend([name(&operation), beside_bar(&operation, Some(now().wall))]);
    let mut state = State::new(None, false, None);
    state.health = Some(health);
    state.contact.link = Link::Up(Some(status));
    lines.push(bottom(&state, 0, now()).1);
    state.contact.disconnected(now(), hostile(), now().instant);
    lines.push(bottom(&state, 0, now()).1);
    for line in lines {
        assert!(
            line.contains('x') && !line.chars().any(char::is_control),
            "{line:?}"
        );
    }
}

fn says(state: &mut State, json: &str) {
    state.apply(Frame::read(json).expect("a frame"), now());
}

#[test]
fn the_bottom_line_tells_live_degraded_stale_and_disconnected_apart() {
    let mut state = State::new(None, false, None);
    let start = now();
    assert_eq!(bottom(&state, 0, start).0, Tone::Doubtful);
    state.connected(start, false);
    says(
        &mut state,
        r#"{"type":"status","status":"live","since":"2026-11-21T04:00:00Z"}"#,
    );
    let (tone, line) = bottom(&state, 0, start);
    assert_eq!((tone, line.as_str()), (Tone::Good, "● live · 0 running"));

    says(
        &mut state,
        r#"{"type":"status","status":"degraded","since":"2026-11-21T04:00:00Z","reason":"no database"}"#,
    );
    let (tone, line) = bottom(&state, 2, start);
    assert_eq!(tone, Tone::Bad);
    assert!(
        line.starts_with("▲ degraded since ") && line.contains("no database"),
        "{line}"
    );
    assert!(line.ends_with("2 not shown"), "{line}");

    says(&mut state, r#"{"type":"status","status":"live"}"#);
    let later = Now {
        instant: start.instant + Duration::from_secs(60),
        ..start
    };
    let (tone, line) = bottom(&state, 0, later);
    assert_eq!(tone, Tone::Bad, "live was the last word, but a minute ago");
    assert!(
        line.starts_with("▲ stale: nothing heard of the relay for 1 min"),
        "{line}"
    );

    state.contact.disconnected(
        start,
        "refused".to_owned(),
        start.instant + Duration::from_secs(3),
    );
    let (tone, line) = bottom(&state, 0, start);
    assert_eq!(tone, Tone::Bad);
    assert!(
        line.contains("; next try in 3.0 s") && line.ends_with("refused"),
        "{line}"
    );
}

#[test]
fn complete_as_of_ages_by_the_databases_clock() {
    let mut state = State::new(None, false, None);
    state.connected(now(), false);
    let heartbeat = r#"{"type":"heartbeat","sub":"default","cursor":"c","complete_as_of":"2026-11-21T04:00:00Z","lag_ms":2000}"#;
    says(&mut state, heartbeat);
    let (_, line) = bottom(&state, 0, now());
    assert!(
        line.contains("(2.0 s ago)"),
        "an hour's difference between the clocks is not age: {line}"
    );
}

#[test]
fn the_last_line_says_when_following_ended_and_how_to_go_on() {
    let mut state = State::new(Some("abc".to_owned()), false, None);
    assert!(farewell(&state, now()).ends_with("; --since abc goes on from here"));
    state.cursor = Some("c".repeat(5000));
    assert!(!farewell(&state, now()).contains("since"));
}
