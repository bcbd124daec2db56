//! What a subscriber should have got, against what it has got.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::log::{Log, Logged, row};
use super::subscribers::{Filter, Followed};

/// At most this many of one subscriber's faults are told.
const TOLD: usize = 5;

/// Everything that is wrong.
pub(super) fn wrong(followed: &Followed, log: &Log) -> Vec<String> {
    let mut faults = followed.wrong.clone();
    faults.extend(out_of_order(followed, log));
    if followed.subscription.every {
        faults.extend(missing_or_twice(followed, log));
    } else {
        faults.extend(stale(followed, log));
    }
    faults.truncate(TOLD);
    faults
        .into_iter()
        .map(|fault| format!("{followed}: {fault}"))
        .collect()
}

fn id(event: &Value) -> i64 {
    event["id"].as_i64().expect("an id")
}

/// Each event as the log has it, told rightly, and those of one row in the order in which they were made.
fn out_of_order(followed: &Followed, log: &Log) -> Vec<String> {
    let mut faults = Vec::new();
    let mut newest: BTreeMap<_, &Logged> = BTreeMap::new();
    for event in followed.events() {
        let Some(logged) = log.events.get(&id(&event)) else {
            faults.push(format!("is not in the log: {event}"));
            continue;
        };
        let same = event["topic"] == logged.topic.as_str()
            && event["type"] == logged.kind.as_str()
            && event["entity"] == logged.entity.as_str()
            && event["revision"] == logged.revision
            && event["data"] == logged.payload;
        if !same {
            faults.push(format!("is otherwise in the log: {event}"));
        }
        if logged.told(&followed.subscription.filter) != Some(event["left"] == true) {
            faults.push(format!("does not concern it so: {event}"));
        }
        // In mode `latest` a snapshot in between may be newer than what comes after a reset.
        let row = row(&logged.topic, &logged.entity, &event["data"]);
        let held = newest
            .insert(row, logged)
            .filter(|_| followed.subscription.every);
        if let Some(held) = held {
            let grows = held.revision < logged.revision;
            let has_none = logged.topic == "errors" || logged.kind == "table.truncated";
            if held.id >= logged.id || !(grows || has_none) {
                faults.push(format!("came after {}: {event}", held.id));
            }
        }
    }
    faults
}

fn missing_or_twice(followed: &Followed, log: &Log) -> Vec<String> {
    let mut faults = Vec::new();
    let mut came = BTreeSet::new();
    for event in followed.events() {
        if !came.insert(id(&event)) {
            faults.push(format!("came twice: {event}"));
        }
    }
    let Some(began) = &followed.began else {
        faults.push("never began".to_owned());
        return faults;
    };
    for event in log.events.values() {
        let owed =
            !began.has(event.xid, event.id) && event.told(&followed.subscription.filter).is_some();
        if owed != came.contains(&event.id) {
            let what = if owed {
                "is missing"
            } else {
                "came though it had been before"
            };
            faults.push(format!(
                "{what}: {} of transaction {}, {} {:?}",
                event.id,
                event.xid,
                event.kind,
                event.row()
            ));
        }
    }
    faults
}

/// The screen at the end, against the tables.
fn stale(followed: &Followed, log: &Log) -> Vec<String> {
    let mut faults = Vec::new();
    let tables = [
        ("operations", &log.operations, &followed.screen.operations),
        (
            "connections",
            &log.connections,
            &followed.screen.connections,
        ),
    ];
    for (topic, rows, shown) in tables {
        let filter: &Filter = &followed.subscription.filter;
        let wanted = |(entity, row): &(&String, &Value)| {
            filter.topics.contains(&topic) && filter.matches(topic, entity, row)
        };
        let wanted: BTreeMap<_, _> = rows.iter().filter(wanted).collect();
        for (entity, row) in &wanted {
            if shown.get(*entity).is_none_or(|shown| !is_as(shown, row)) {
                faults.push(format!(
                    "{topic} {entity}: shows {:?}, and the table has {row}",
                    shown.get(*entity)
                ));
            }
        }
        for entity in shown.keys().filter(|entity| !wanted.contains_key(entity)) {
            faults.push(format!(
                "{topic} {entity}: is shown, and is not in the table"
            ));
        }
    }
    faults
}

/// A sign of life by itself is no event, so `heartbeat_at` may be older on the screen, and the row names no event.
fn is_as(shown: &Value, row: &Value) -> bool {
    let without = |row: &Value| {
        let mut columns = row.as_object().expect("a row").clone();
        columns.remove("heartbeat_at");
        columns.remove("event_id");
        columns
    };
    without(shown) == without(row)
}
