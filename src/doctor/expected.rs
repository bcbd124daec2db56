//! What the schema has to look like, read from the dump that a test keeps up to date (`sql/schema.sql`).
//!
//! The migrator's records say what was applied once. Somebody may have replaced a function or switched off a trigger by
//! hand since, and then writes are not recorded while everything seems to be in order. So what is there is compared with
//! the dump, word by word.

use std::collections::{BTreeMap, BTreeSet};

const DUMP: &str = include_str!("../../sql/schema.sql");

/// Everything that the dump has.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Functions by qualified name; none of them is overloaded.
    pub(super) functions: BTreeMap<String, Function>,
    /// Triggers by table and name.
    pub(super) triggers: BTreeMap<(String, String), Trigger>,
    /// Tables by qualified name.
    pub(super) tables: BTreeSet<String>,
    /// Sequences by qualified name.
    pub(super) sequences: BTreeSet<String>,
    /// Indexes by qualified name, with the table that each one is on. Those of constraints are not among them.
    pub(super) indexes: BTreeMap<String, String>,
}

/// What makes a function do what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Between the dollar signs; or the tree as [`bare`] has it.
    pub(super) body: String,
    /// Whether it runs with the rights of its owner.
    pub(super) is_security_definer: bool,
    /// Its `SET` clauses.
    pub(super) settings: BTreeMap<String, String>,
}

/// What makes a trigger fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trigger {
    /// As `pg_get_triggerdef` writes it.
    pub(super) definition: String,
    /// For which roles of replication it fires, as in `pg_trigger.tgenabled`.
    pub(super) enabled: Enabled,
}

/// When a trigger fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enabled {
    /// Not for replicated rows.
    Origin,
    /// Always.
    Always,
    /// Only for replicated rows.
    Replica,
    /// Never.
    Disabled,
}

impl Enabled {
    /// Reads `pg_trigger.tgenabled`.
    pub(super) fn of(letter: &str) -> Self {
        match letter {
            "A" => Self::Always,
            "R" => Self::Replica,
            "D" => Self::Disabled,
            _ => Self::Origin,
        }
    }

    /// What `ALTER TABLE` calls it.
    pub(super) fn clause(self) -> &'static str {
        match self {
            Self::Origin => "ENABLE",
            Self::Always => "ENABLE ALWAYS",
            Self::Replica => "ENABLE REPLICA",
            Self::Disabled => "DISABLE",
        }
    }
}

impl Expected {
    /// Reads the dump.
    pub(super) fn read() -> Self {
        let mut expected = Self::default();
        let dump = DUMP.replace("\r\n", "\n");
        let mut rest = dump.as_str();
        while let Some((line, after)) = rest.split_once('\n') {
            rest = after;
            if let Some(head) = line.strip_prefix("CREATE FUNCTION ") {
                rest = expected.take_function(head, after);
            } else if let Some(text) = line.strip_suffix(';') {
                expected.take_line(text);
            } else if let Some(name) = line.strip_prefix("CREATE TABLE ") {
                expected.tables.insert(first_word(name));
            } else if let Some(name) = line.strip_prefix("CREATE SEQUENCE ") {
                expected.sequences.insert(first_word(name));
            }
        }
        expected
    }

    /// Takes in a function and returns what follows it.
    fn take_function<'a>(&mut self, head: &str, after: &'a str) -> &'a str {
        let name = head.split('(').next().unwrap_or(head).to_owned();
        let (clauses, body, rest) = match after.split_once("\n\n") {
            // A body that PostgreSQL keeps as a tree: what it prints is compared without white space.
            Some((statement, rest)) if !statement.contains("    AS $") => {
                let (clauses, body) = statement
                    .split_once("    RETURN ")
                    .expect("a function has a body");
                (clauses, bare(&format!("RETURN {body}")), rest)
            }
            _ => {
                let (clauses, quoted) =
                    after.split_once("    AS $").expect("a function has a body");
                let (tag, quoted) = quoted.split_once('$').expect("a quote has two signs");
                let (body, rest) = quoted
                    .split_once(&format!("${tag}$"))
                    .expect("a quote ends");
                (clauses, body.to_owned(), rest)
            }
        };
        let settings = clauses.lines().filter_map(|clause| {
            let (name, value) = clause.trim().strip_prefix("SET ")?.split_once(" TO ")?;
            Some(setting(name, value))
        });
        let function = Function {
            body,
            is_security_definer: clauses.contains("SECURITY DEFINER"),
            settings: settings.collect(),
        };
        self.functions.insert(name, function);
        rest
    }

    /// Takes in a statement that stands on one line.
    fn take_line(&mut self, text: &str) {
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["CREATE", "TRIGGER", name, ..] => {
                let table = word_after(&words, "ON");
                let trigger = Trigger {
                    definition: text.to_owned(),
                    enabled: Enabled::Origin,
                };
                self.triggers.insert((table, (*name).to_owned()), trigger);
            }
            [
                "ALTER",
                "TABLE",
                table,
                "ENABLE",
                when @ ("ALWAYS" | "REPLICA"),
                "TRIGGER",
                name,
            ] => {
                let key = ((*table).to_owned(), (*name).to_owned());
                let enabled = if *when == "ALWAYS" {
                    Enabled::Always
                } else {
                    Enabled::Replica
                };
                if let Some(trigger) = self.triggers.get_mut(&key) {
                    trigger.enabled = enabled;
                }
            }
            ["CREATE", "INDEX", name, ..] | ["CREATE", "UNIQUE", "INDEX", name, ..] => {
                let table = word_after(&words, "ON");
                let schema = table.split('.').next().unwrap_or_default();
                self.indexes.insert(format!("{schema}.{name}"), table);
            }
            _ => {}
        }
    }
}

/// A body that is kept as a tree, in one spelling: PostgreSQL prints it with breaks of its own.
pub(super) fn bare(body: &str) -> String {
    body.split_whitespace()
        .collect::<String>()
        .trim_end_matches(';')
        .to_owned()
}

/// A setting in one spelling, whether it comes from the dump or from `pg_proc.proconfig`.
pub(super) fn setting(name: &str, value: &str) -> (String, String) {
    let bare = |text: &str| text.trim_matches(['"', '\'']).to_owned();
    let values: Vec<String> = value.split(", ").map(bare).collect();
    (bare(name).to_lowercase(), values.join(", "))
}

fn first_word(text: &str) -> String {
    text.split([' ', '(']).next().unwrap_or(text).to_owned()
}

fn word_after(words: &[&str], word: &str) -> String {
    let mut after = words.iter().skip_while(|candidate| **candidate != word);
    after.next();
    let next = after.find(|candidate| **candidate != "ONLY");
    next.copied().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::schema::FUNCTIONS;

    #[test]
    fn the_dump_has_every_function_file() {
        let expected = Expected::read();
        for file in FUNCTIONS {
            let found = ["bellwether", "public"].iter().any(|schema| {
                expected
                    .functions
                    .contains_key(&format!("{schema}.{}", file.name))
            });
            assert!(found, "{}", file.name);
        }
    }

    #[test]
    fn a_function_is_read_whole() {
        let expected = Expected::read();
        let ring = &expected.functions["bellwether.ring"];
        assert!(ring.body.starts_with("\nBEGIN\n") && ring.body.ends_with("END\n"));
        assert_eq!(ring.settings["search_path"], "pg_catalog, pg_temp");
        assert!(!ring.is_security_definer);
        let capture = &expected.functions["bellwether.capture_sync_operation"];
        assert!(capture.is_security_definer);
    }

    #[test]
    fn every_table_that_applications_write_has_its_triggers() {
        let expected = Expected::read();
        for table in [
            "sync_operations",
            "sync_operation_errors",
            "connection_status",
            "sync_status_snapshots",
        ] {
            let table = format!("public.{table}");
            assert!(expected.tables.contains(&table), "{table}");
            let always = expected
                .triggers
                .iter()
                .filter(|((of, _), trigger)| *of == table && trigger.enabled == Enabled::Always);
            assert!(always.count() >= 4, "{table}");
        }
        assert!(expected.sequences.contains("bellwether.lease"));
        assert!(
            expected
                .indexes
                .values()
                .any(|table| table == "bellwether.event")
        );
    }
}
