//! What a frame means to whoever watches.

use serde_json::value::RawValue;

use super::{
    frame::{Reset, Status},
    rows::{Connection, Health, ItemError, Operation},
};

/// One thing to tell, or to do.
#[derive(Debug)]
pub(super) enum Effect {
    /// A change that was not known yet; on the last one of a frame, the frame's cursor.
    Event {
        raw: Box<RawValue>,
        cursor: Option<String>,
    },
    /// A row of a snapshot.
    Row {
        topic: &'static str,
        kind: &'static str,
        data: Box<RawValue>,
    },
    /// The snapshot has been told; the cursor of a reader that has it.
    SnapshotEnd { cursor: Option<String> },
    /// What was told before can not be continued.
    Reset(Reset),
    /// An operation that was not known to be at work is.
    Begun(Operation),
    /// An operation has ended.
    Ended(Operation),
    /// An operation has been deleted before it ended, or is no longer told of.
    Vanished(Operation),
    /// One item of an operation failed; the operation, where it is held.
    ItemFailed(ItemError, Option<Operation>),
    /// The status of a client's connection has changed.
    Connection(Connection),
    /// Health has changed.
    Health(Health),
    /// A table was emptied.
    Truncated(String),
    /// The relay's own status has changed.
    Relay(Status),
    /// Something that a person should know.
    Note(String),
    /// Ask the relay for these operations, which were neither in the snapshot nor heard of.
    LookUp(Vec<String>),
    /// All that was waited for has happened.
    Finished,
}
