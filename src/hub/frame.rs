//! What is sent: encoded once for everyone who shares it. The two large frames of the protocol, `events` and `snapshot`,
//! are made here; the small ones where they are decided.

use std::fmt::Write;
use std::sync::Arc;

use super::mirror::View;
use crate::event::{Event, Row, push_json_string};

/// Rows of a snapshot are sent in parts of about this many bytes.
const PART_BYTES: usize = 256 * 1024;

/// A frame of the protocol; clones share the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The frame's `type`.
    pub kind: &'static str,
    /// The cursor of a reader that has this frame and everything before it, where the frame has one.
    pub cursor: Option<Arc<str>>,
    /// The frame itself.
    pub json: Arc<str>,
}

/// An event for a subscription, and whether its row has left the subscription's filter.
pub(crate) type Told = (Arc<Event>, bool);

/// The `events` frame: these events, and the cursor of a reader that has them and everything before.
pub(crate) fn events(sub: &str, cursor: &Arc<str>, events: &[Told]) -> Frame {
    let size: usize = events.iter().map(|(event, _)| event.size()).sum();
    let mut frame = String::with_capacity(size + cursor.len() + 64);
    frame.push_str(r#"{"type":"events","sub":"#);
    push_json_string(&mut frame, sub);
    let _ = write!(frame, r#","cursor":"{cursor}","events":["#);
    for (position, (event, left)) in events.iter().enumerate() {
        if position > 0 {
            frame.push(',');
        }
        event.write_json(*left, &mut frame);
    }
    frame.push_str("]}");
    Frame {
        kind: "events",
        cursor: Some(cursor.clone()),
        json: frame.into(),
    }
}

/// The `snapshot` frames: the state at the cursor, which only the last part carries.
pub(crate) fn snapshot(sub: &str, cursor: &Arc<str>, view: &View) -> Vec<Frame> {
    let mut parts = vec![Part::default()];
    for row in &view.operations {
        room(&mut parts, row).operations.push(row);
    }
    for row in &view.connections {
        room(&mut parts, row).connections.push(row);
    }
    let count = parts.len();
    let encode = |(index, part): (usize, &Part<'_>)| {
        let mut frame = String::from(r#"{"type":"snapshot","sub":"#);
        push_json_string(&mut frame, sub);
        let _ = write!(frame, r#","part":{},"parts":{count}"#, index + 1);
        push_rows(&mut frame, "operations", &part.operations);
        push_rows(&mut frame, "connections", &part.connections);
        let is_last = index + 1 == count;
        if is_last {
            let health = view.health.as_deref().map_or("null", |row| &row.data);
            let _ = write!(
                frame,
                r#","health":{health},"complete":{},"cursor":"{cursor}""#,
                view.complete
            );
        }
        frame.push('}');
        Frame {
            kind: "snapshot",
            cursor: is_last.then(|| cursor.clone()),
            json: frame.into(),
        }
    };
    parts.iter().enumerate().map(encode).collect()
}

/// The rows of one part of a snapshot.
#[derive(Default)]
struct Part<'a> {
    bytes: usize,
    operations: Vec<&'a Row>,
    connections: Vec<&'a Row>,
}

/// The part that takes the row: the last one, or a new one where the last is full.
fn room<'a, 'b>(parts: &'b mut Vec<Part<'a>>, row: &Row) -> &'b mut Part<'a> {
    if parts.last().is_none_or(|part| part.bytes >= PART_BYTES) {
        parts.push(Part::default());
    }
    let last = parts.len() - 1;
    parts[last].bytes += row.data.len();
    &mut parts[last]
}

fn push_rows(frame: &mut String, name: &str, rows: &[&Row]) {
    let _ = write!(frame, r#","{name}":["#);
    for (position, row) in rows.iter().enumerate() {
        if position > 0 {
            frame.push(',');
        }
        frame.push_str(&row.data);
    }
    frame.push(']');
}
