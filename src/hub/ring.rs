//! The recent batches in memory: a resume inside them costs the database nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cursor::Cursor;
use crate::event::Event;

/// Events and the cursor of a reader that has everything up to and with them.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Where the batch ends.
    pub(crate) to: Arc<Cursor>,
    /// The events, in the order of the log.
    pub(crate) events: Vec<Arc<Event>>,
}

/// The recent batches, one after the other without a gap, bounded in bytes.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Where the oldest kept batch begins.
    start: Arc<Cursor>,
    batches: VecDeque<Batch>,
    bytes: usize,
    max_bytes: usize,
}

impl Ring {
    /// An empty ring that begins at `start`.
    pub(crate) fn new(start: Arc<Cursor>, max_bytes: usize) -> Self {
        Self {
            start,
            batches: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Adds the batch that begins where the newest one ends; the oldest ones make room.
    pub(crate) fn push(&mut self, batch: Batch) {
        self.bytes += size(&batch);
        self.batches.push_back(batch);
        while self.bytes > self.max_bytes {
            let Some(oldest) = self.batches.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest);
            self.start = oldest.to;
        }
    }

    /// What a reader at `cursor` is owed, in order; `None` where the ring does not reach back that far.
    pub(crate) fn owed<'a>(
        &'a self,
        cursor: &'a Cursor,
    ) -> Option<impl Iterator<Item = &'a Arc<Event>>> {
        if !cursor.covers(&self.start) {
            return None;
        }
        let first = self
            .batches
            .partition_point(|batch| cursor.covers(&batch.to));
        let batches = self.batches.range(first..);
        Some(
            batches
                .flat_map(|batch| &batch.events)
                .filter(|event| !cursor.has(event.xid, event.id)),
        )
    }
}

fn size(batch: &Batch) -> usize {
    batch.events.iter().map(|event| event.size()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{Epoch, Snapshot};
    use crate::event::tests::operation_event;

    fn at(text: &str) -> Arc<Cursor> {
        Arc::new(Cursor::at(
            Epoch(1),
            Snapshot::parse(text).expect("a snapshot"),
        ))
    }

    /// Event `id` is of transaction `100 + id`.
    fn ring(max_bytes: usize) -> Ring {
        let mut ring = Ring::new(at("100:100:"), max_bytes);
        let event = |id| {
            Arc::new(operation_event(
                id,
                "a",
                id,
                "operation.progress",
                "in_progress",
                None,
            ))
        };
        ring.push(Batch {
            to: at("102:104:102"),
            events: vec![event(1), event(3)],
        });
        ring.push(Batch {
            to: at("105:105:"),
            events: vec![event(2), event(4)],
        });
        ring
    }

    fn owed(ring: &Ring, cursor: &Cursor) -> Option<Vec<i64>> {
        ring.owed(cursor)
            .map(|events| events.map(|event| event.id).collect())
    }

    #[test]
    fn a_reader_gets_what_its_snapshot_lacks_and_nothing_else() {
        assert_eq!(
            owed(&ring(1 << 20), &at("100:100:")),
            Some(vec![1, 3, 2, 4])
        );
        assert_eq!(owed(&ring(1 << 20), &at("102:104:102")), Some(vec![2, 4]));
        assert_eq!(
            owed(&ring(1 << 20), &at("102:105:102")),
            Some(vec![2]),
            "a cursor of a relay that looked at other instants"
        );
        assert_eq!(owed(&ring(1 << 20), &at("105:105:")), Some(vec![]));
    }

    #[test]
    fn what_has_made_room_cannot_be_resumed_from() {
        let small = ring(500);
        assert_eq!(owed(&small, &at("100:100:")), None);
        assert_eq!(owed(&small, &at("102:104:102")), Some(vec![2, 4]));
    }
}
