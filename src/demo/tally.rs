//! What a job has counted so far, and how that is said to the database.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use super::{
    kinds::kind_of,
    mirror::{Bytes, Outcome},
};
use crate::postgres::writer::{ItemError, Progress};

/// The counts of one job since it began.
#[derive(Debug, Default)]
pub(super) struct Tally {
    inserted: i64,
    updated: i64,
    deleted: i64,
    kept: i64,
    skipped: i64,
    failed: i64,
    folders: u64,
    bytes: Bytes,
    kinds: BTreeMap<&'static str, u64>,
    reasons: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Counts a folder that was entered.
    pub(super) fn enter_folder(&mut self) {
        self.folders += 1;
    }

    /// Counts what became of a file, and returns the error that it is to be recorded with, if it is one.
    pub(super) fn count(&mut self, item: &Path, outcome: Outcome) -> Option<ItemError> {
        *self.kinds.entry(kind_of(item)).or_default() += 1;
        match outcome {
            Outcome::Inserted(bytes) => {
                self.inserted += 1;
                self.read(bytes);
            }
            Outcome::Updated(bytes) => {
                self.updated += 1;
                self.read(bytes);
            }
            Outcome::Kept(bytes) => {
                self.kept += 1;
                self.read(bytes);
            }
            Outcome::Skipped(reason) => {
                self.skipped += 1;
                *self.reasons.entry(reason).or_default() += 1;
            }
            Outcome::Failed { message, code } => return Some(self.fail(item, message, code)),
        }
        None
    }

    /// Counts a file that was removed from the mirror.
    pub(super) fn delete(&mut self) {
        self.deleted += 1;
    }

    /// Counts an item that failed, and returns its error.
    pub(super) fn fail(&mut self, item: &Path, message: String, code: &'static str) -> ItemError {
        self.failed += 1;
        ItemError {
            number: self.failed,
            item: item.to_string_lossy().into_owned(),
            message,
            code,
        }
    }

    fn read(&mut self, bytes: Bytes) {
        self.bytes.hashed += bytes.hashed;
        self.bytes.copied += bytes.copied;
    }

    /// How many items have been dealt with.
    pub(super) fn processed(&self) -> i64 {
        self.inserted + self.updated + self.deleted + self.kept + self.skipped + self.failed
    }

    /// How many bytes have been written.
    pub(super) fn copied(&self) -> u64 {
        self.bytes.copied
    }

    /// What to report; `None` for the item leaves the one before.
    pub(super) fn progress(&self, total: Option<i64>, current_item: Option<&Path>) -> Progress {
        Progress {
            processed: self.processed(),
            total,
            current_item: current_item.map(|item| item.to_string_lossy().into_owned()),
            message: None,
            failed: self.failed,
            inserted: self.inserted,
            updated: self.updated,
            deleted: self.deleted,
            kept: self.kept,
            skipped: self.skipped,
            entities: json!(self.kinds),
            counters: self.counters(),
        }
    }

    /// Folders, bytes, and how many items were skipped for which reason (`skipped_too_large`).
    fn counters(&self) -> Value {
        let mut counters = BTreeMap::from([
            ("folders".to_owned(), self.folders),
            ("bytes_hashed".to_owned(), self.bytes.hashed),
            ("bytes_copied".to_owned(), self.bytes.copied),
        ]);
        for (reason, count) in &self.reasons {
            counters.insert(format!("skipped_{reason}"), *count);
        }
        json!(counters)
    }

    /// Everything in one line, for people.
    pub(super) fn summary(&self) -> String {
        format!(
            "{} inserted, {} updated, {} deleted, {} kept, {} skipped, {} failed",
            self.inserted, self.updated, self.deleted, self.kept, self.skipped, self.failed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_counts_once_and_skipped_ones_with_their_reason() {
        let mut tally = Tally::default();
        let bytes = Bytes {
            hashed: 10,
            copied: 4,
        };
        let item = Path::new("a.txt");
        assert!(tally.count(item, Outcome::Inserted(bytes)).is_none());
        assert!(tally.count(item, Outcome::Kept(bytes)).is_none());
        assert!(tally.count(item, Outcome::Skipped("too_large")).is_none());
        let failed = Outcome::Failed {
            message: "no".to_owned(),
            code: "vanished",
        };
        let error = tally.count(item, failed).expect("an error to record");
        assert_eq!((error.number, error.code), (1, "vanished"));
        tally.delete();
        let report = tally.progress(Some(9), Some(item));
        assert_eq!((report.processed, report.total), (5, Some(9)));
        assert_eq!(report.entities, json!({ "texts": 4 }));
        assert_eq!(
            report.counters,
            json!({ "folders": 0, "bytes_hashed": 20, "bytes_copied": 8, "skipped_too_large": 1 })
        );
    }
}
