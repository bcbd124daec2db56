//! What a person reads: one line an effect, the text beside a bar, the line at the bottom. Pure, and safe for a
//! terminal: whatever came from elsewhere goes through [`safe`].

use std::{fmt::Write, time::Instant};

use jiff::Timestamp;

use super::{
    contact::{Link, Now},
    effect::Effect,
    rows::{Connection, Health, ItemError, Operation},
    state::State,
    text::{clock, length, length_between, rate, safe},
};

/// Longest name, message and file name, in characters.
const LONGEST_NAME: usize = 60;
const LONGEST_MESSAGE: usize = 300;

/// A longer cursor is of no use to a person.
const LONGEST_SHOWN_CURSOR: usize = 100;

/// How good the news at the bottom is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// All is as it should be.
    Good,
    /// What is shown may be behind.
    Doubtful,
    /// What is shown is old.
    Bad,
}

/// The line for an effect, if people are told of it at all. With `begun`, also that an operation has begun, which a bar
/// shows by itself.
pub(super) fn of_effect(effect: &Effect, begun: bool) -> Option<String> {
    Some(match effect {
        Effect::Begun(operation) if begun => {
            format!("▶ {} {}", full_name(operation), state_of(operation))
        }
        Effect::Ended(operation) => ended(operation),
        Effect::Vanished(operation) => format!("∅ {} is gone before its end", full_name(operation)),
        Effect::ItemFailed(error, operation) => item_failed(error, operation.as_ref()),
        Effect::Connection(connection) => connection_changed(connection),
        Effect::Health(health) => format!("♥ health is {}", health_of(health)),
        Effect::Truncated(table) => format!("∅ table {} was emptied", safe(table, LONGEST_NAME)),
        Effect::Relay(status) => {
            let reason = status
                .reason
                .as_deref()
                .map(|reason| format!(": {}", safe(reason, LONGEST_MESSAGE)));
            format!(
                "◆ the relay is {}{}",
                words(&status.status),
                reason.unwrap_or_default()
            )
        }
        Effect::Reset(reset) => format!(
            "◆ could not resume ({}): changes were missed; what follows is the present state",
            words(&reset.reason)
        ),
        Effect::Note(note) => format!("◆ {}", safe(note, LONGEST_MESSAGE)),
        Effect::Begun(_)
        | Effect::Event { .. }
        | Effect::Row { .. }
        | Effect::SnapshotEnd { .. }
        | Effect::LookUp(_)
        | Effect::Finished => return None,
    })
}

/// `full_sync /usr/share/doc`: what kind of operation, and what tells it from others of its kind.
pub(super) fn name(operation: &Operation) -> String {
    let which = [&operation.source, &operation.owner];
    let which = which.into_iter().flatten().next().unwrap_or(&operation.id);
    safe(
        &format!("{} {which}", operation.operation_type),
        LONGEST_NAME,
    )
}

fn full_name(operation: &Operation) -> String {
    match (&operation.source, &operation.owner) {
        (Some(_), Some(owner)) => format!("{} ({})", name(operation), safe(owner, LONGEST_NAME)),
        _ => name(operation),
    }
}

fn ended(operation: &Operation) -> String {
    let mark = match operation.status.as_str() {
        "completed" => '✓',
        "failed" => '✗',
        _ => '⊘',
    };
    let mut line = format!(
        "{mark} {} {}",
        full_name(operation),
        words(&operation.status)
    );
    if let Some(seconds) = operation.duration_seconds {
        push(&mut line, format_args!(" after {}", length(seconds)));
    }
    push(&mut line, format_args!(": {}", count(operation)));
    let why = operation.error.as_ref().or(operation.message.as_ref());
    if let Some(why) = why.filter(|_| operation.status != "completed") {
        push(&mut line, format_args!(": {}", safe(why, LONGEST_MESSAGE)));
    }
    line
}

fn item_failed(error: &ItemError, operation: Option<&Operation>) -> String {
    let mut line = "! ".to_owned();
    if let Some(operation) = operation {
        push(&mut line, format_args!("{}: ", name(operation)));
    }
    if let Some(item) = &error.item {
        push(&mut line, format_args!("{}: ", safe(item, LONGEST_MESSAGE)));
    }
    line.push_str(&safe(&error.message, LONGEST_MESSAGE));
    if let Some(code) = &error.code {
        push(&mut line, format_args!(" ({})", safe(code, LONGEST_NAME)));
    }
    line
}

fn connection_changed(connection: &Connection) -> String {
    let mut line = format!(
        "⇄ {} {} is {}",
        safe(&connection.source, LONGEST_NAME),
        safe(&connection.client_id, LONGEST_NAME),
        words(&connection.status)
    );
    if let Some(latency) = connection
        .latency_ms
        .filter(|_| connection.status == "connected")
    {
        push(&mut line, format_args!(" ({latency:.1} ms)"));
    }
    if connection.reconnect_attempts > 0 {
        push(
            &mut line,
            format_args!(", {} attempts to reconnect", connection.reconnect_attempts),
        );
    }
    line
}

fn health_of(health: &Health) -> String {
    let mut text = words(&health.status);
    if let Some(score) = health.score {
        push(&mut text, format_args!(" {score:.0}/100"));
    }
    if let Some(errors) = health.error_rate_percent {
        push(&mut text, format_args!(", {errors:.1} % errors"));
    }
    text
}

/// Beside the bar of an active operation. The time is the database's; none where what is known may be old, and then
/// nothing is said of rates and of time left.
pub(super) fn beside_bar(operation: &Operation, now: Option<Timestamp>) -> String {
    let mut text = count(operation);
    let rate_now = operation
        .items_per_second
        .filter(|_| operation.status == "in_progress" && now.is_some());
    let parts = [
        rate_now.map(rate),
        now.map(|now| state_of_time(operation, now)),
        operation
            .current_item
            .as_ref()
            .map(|item| safe(item, LONGEST_MESSAGE)),
    ];
    for part in parts.into_iter().flatten().filter(|part| !part.is_empty()) {
        push(&mut text, format_args!(" · {part}"));
    }
    text
}

/// `12/400, 3 failed`
fn count(operation: &Operation) -> String {
    let mut text = match operation.total_items {
        Some(total) => format!("{}/{total}", operation.processed_items),
        None => operation.processed_items.to_string(),
    };
    if operation.failed_items > 0 {
        push(
            &mut text,
            format_args!(", {} failed", operation.failed_items),
        );
    }
    text
}

fn state_of(operation: &Operation) -> String {
    match operation.total_items {
        Some(total) => format!("{}: {total} items", words(&operation.status)),
        None => words(&operation.status),
    }
}

/// What there is to say about time: held up, without a sign of life, or how long it will take.
fn state_of_time(operation: &Operation, now: Timestamp) -> String {
    if let Some(since) = operation.stalled_since {
        return format!("stalled for {}", length_between(since, now));
    }
    if operation.status == "paused" {
        return "paused".to_owned();
    }
    match operation.estimated_completion_at {
        Some(end) if end > now => format!("{} left", length_between(now, end)),
        Some(_) => "any moment".to_owned(),
        None => String::new(),
    }
}

/// The line at the bottom: how it stands with the relay, up to when everything is shown, and what is not shown.
pub(super) fn bottom(state: &State, hidden: usize, now: Now) -> (Tone, String) {
    let (tone, mut line) = link(state, now);
    if let Some(complete) = state.contact.complete_as_of {
        let age = length_between(complete, state.contact.database_time(now));
        push(
            &mut line,
            format_args!(" · complete as of {} ({age} ago)", clock(complete)),
        );
    }
    let count = |status: &str| {
        state
            .operations
            .values()
            .filter(|held| held.operation.status == status)
            .count()
    };
    for (status, word) in [
        ("in_progress", "running"),
        ("paused", "paused"),
        ("pending", "pending"),
    ] {
        let number = count(status);
        if number > 0 || status == "in_progress" {
            push(&mut line, format_args!(" · {number} {word}"));
        }
    }
    if hidden > 0 {
        push(&mut line, format_args!(" · {hidden} not shown"));
    }
    if let Some(health) = &state.health {
        push(&mut line, format_args!(" · {}", health_of(health)));
    }
    if let Link::Down { reason, .. } = &state.contact.link {
        push(
            &mut line,
            format_args!(" · {}", safe(reason, LONGEST_MESSAGE)),
        );
    }
    (tone, line)
}

/// Every active operation, and how it stands.
pub(super) fn all_active(state: &State, now: Now) -> Vec<String> {
    let time = state
        .contact
        .is_fresh(now)
        .then(|| state.contact.database_time(now));
    let mut active: Vec<_> = state.operations.values().collect();
    active.sort_unstable_by_key(|held| held.order);
    let one = |operation: &Operation| {
        let beside = beside_bar(operation, time);
        format!(
            "{} {} · {beside}",
            name(operation),
            words(&operation.status)
        )
    };
    let mut lines: Vec<_> = active.iter().map(|held| one(&held.operation)).collect();
    lines.push(bottom(state, 0, now).1);
    lines
}

/// The last line, so that nothing above it is taken for the present.
pub(super) fn farewell(state: &State, now: Now) -> String {
    let mut line = format!("○ stopped following at {}", clock(now.wall));
    if let Some(cursor) = state
        .cursor
        .as_ref()
        .filter(|cursor| cursor.len() <= LONGEST_SHOWN_CURSOR)
    {
        push(
            &mut line,
            format_args!(
                "; --since {} goes on from here",
                safe(cursor, LONGEST_SHOWN_CURSOR)
            ),
        );
    }
    line
}

fn link(state: &State, now: Now) -> (Tone, String) {
    let status = match &state.contact.link {
        Link::Connecting => return (Tone::Doubtful, "○ connecting".to_owned()),
        Link::Down {
            since, retry_at, ..
        } => {
            let line = format!(
                "✕ disconnected since {}; {}",
                clock(*since),
                again(*retry_at, now)
            );
            return (Tone::Bad, line);
        }
        Link::Up(status) => status,
    };
    if let Some(silent) = state.contact.stale_for(now) {
        let line = format!(
            "▲ stale: nothing heard of the relay for {}",
            length(silent.as_secs_f64())
        );
        return (Tone::Bad, line);
    }
    let Some(status) = status else {
        return (Tone::Doubtful, "○ connected".to_owned());
    };
    let since = status
        .since
        .map(|since| format!(" since {}", clock(since)))
        .unwrap_or_default();
    let reason = status
        .reason
        .as_ref()
        .map(|reason| format!(": {}", safe(reason, LONGEST_NAME * 2)));
    let reason = reason.unwrap_or_default();
    match status.status.as_str() {
        "live" => (Tone::Good, "● live".to_owned()),
        "catching_up" => (Tone::Doubtful, format!("◐ catching up{since}{reason}")),
        other => (Tone::Bad, format!("▲ {}{since}{reason}", words(other))),
    }
}

fn again(at: Instant, now: Now) -> String {
    let wait = at.saturating_duration_since(now.instant);
    if wait.is_zero() {
        "connecting".to_owned()
    } else {
        format!("next try in {}", length(wait.as_secs_f64()))
    }
}

/// A name of the protocol as words: `in_progress` is `in progress`.
fn words(name: &str) -> String {
    safe(&name.replace('_', " "), LONGEST_NAME)
}

fn push(line: &mut String, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("a String takes anything");
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
