//! Who writes: applications of every habit.

use std::time::Duration;

use futures::SinkExt;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::{PrivateServer, connect_as_application};

/// Operations that everybody writes to.
const SHARED: u32 = 16;
pub(super) const OWNERS: [&str; 4] = ["ann", "bob", "cyd", "dee"];
pub(super) const TYPES: [&str; 3] = ["upload", "delete", "full_sync"];
const STATUSES: [&str; 6] = [
    "pending",
    "in_progress",
    "in_progress",
    "paused",
    "completed",
    "failed",
];
/// What two writers may do to each other, and to rows that have ended: tried again or let be.
const EXPECTED: [&SqlState; 6] = [
    &SqlState::T_R_SERIALIZATION_FAILURE,
    &SqlState::T_R_DEADLOCK_DETECTED,
    &SqlState::LOCK_NOT_AVAILABLE,
    &SqlState::CHECK_VIOLATION,
    &SqlState::FOREIGN_KEY_VIOLATION,
    &SqlState::UNIQUE_VIOLATION,
];

/// An application's own trigger that updates the row again: the inner change is logged before the outer one.
const OWN_TRIGGER: &str = "
    CREATE FUNCTION public.says_it_again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        UPDATE sync_operations SET message = 'said again' WHERE id = NEW.id;
        RETURN NULL;
    END $$;
    CREATE TRIGGER again AFTER UPDATE ON sync_operations FOR EACH ROW
        WHEN (NEW.message = 'say it again') EXECUTE FUNCTION public.says_it_again()";

pub(super) async fn prepare(client: &Client) {
    client.batch_execute(OWN_TRIGGER).await.expect("a trigger");
}

/// A transaction that writes at once and is open until the test commits it. It locks nothing that others need.
pub(super) async fn hold_a_transaction(server: &PrivateServer) -> Client {
    let client = server.client().await;
    let begin = "BEGIN; SELECT report_connection('held for the whole test', 'connected')";
    client.batch_execute(begin).await.expect("begun");
    client
}

/// Writes until the time is over; returns how many transactions were committed.
pub(super) async fn write(url: &str, number: u64, mut choices: StdRng, until: Instant) -> u32 {
    let client = connect_as_application(url).await;
    let mut committed = 0;
    let mut own = 0;
    while Instant::now() < until {
        let mut writer = Writer {
            client: &client,
            choices: &mut choices,
            number,
            own: &mut own,
        };
        match writer.transaction().await {
            Ok(()) => committed += 1,
            Err(error) if error.code().is_some_and(|code| EXPECTED.contains(&code)) => {
                client.batch_execute("ROLLBACK").await.expect("rolled back");
            }
            Err(error) => panic!("writer {number}: {}", crate::support::chain(&error)),
        }
        // Bursts and quiet times.
        if choices.random_ratio(1, 12) {
            sleep(Duration::from_millis(choices.random_range(0..150))).await;
        }
        if choices.random_ratio(1, 150) {
            sleep(Duration::from_millis(choices.random_range(0..1_500))).await;
        }
    }
    committed
}

struct Writer<'a> {
    client: &'a Client,
    choices: &'a mut StdRng,
    number: u64,
    /// How many operations of its own it has made.
    own: &'a mut u32,
}

type Written = Result<(), tokio_postgres::Error>;

impl Writer<'_> {
    fn one_of<'b>(&mut self, of: &[&'b str]) -> &'b str {
        of[self.choices.random_range(0..of.len())]
    }

    /// An operation that others write to as well.
    fn shared(&mut self) -> String {
        format!(
            "00000000-0000-4000-8000-{:012}",
            self.choices.random_range(0..SHARED)
        )
    }

    fn fresh(&mut self) -> String {
        *self.own += 1;
        format!("00000000-0000-4000-9000-{:04}{:08}", self.number, self.own)
    }

    async fn run(&self, statements: &str) -> Written {
        self.client.batch_execute(statements).await
    }

    async fn transaction(&mut self) -> Written {
        match self.choices.random_range(0..200) {
            0..40 => {
                let update = self.update();
                self.run(&update).await
            }
            40..70 => {
                let upsert = self.upsert();
                self.run(&upsert).await
            }
            70..85 => {
                let (owner, step) = (self.one_of(&OWNERS), self.choices.random_range(1..3));
                self.run(&format!("UPDATE sync_operations SET processed_items = processed_items + {step} WHERE owner = '{owner}'")).await
            }
            85..93 => {
                let id = self.shared();
                self.run(&format!("DELETE FROM sync_operations WHERE id = '{id}'")).await
            }
            93..110 => self.savepoints().await,
            110..125 => self.isolated().await,
            125..133 => self.copy().await,
            133..148 => {
                let id = self.shared();
                self.run(&format!("SELECT record_sync_error('{id}', 'refused')")).await
            }
            148..163 => {
                let connection = self.connection();
                self.run(&connection).await
            }
            163..168 => self.open_for_long().await,
            168..171 => self.many_subtransactions().await,
            171..186 => {
                let (update, end) = (self.update(), self.one_of(&["COMMIT", "COMMIT", "ROLLBACK"]));
                self.run(&format!("BEGIN; SET LOCAL synchronous_commit = off; {update}; {end}")).await
            }
            186..195 => {
                let id = self.shared();
                self.run(&format!("UPDATE sync_operations SET message = 'say it again' WHERE id = '{id}'")).await
            }
            195..198 => self.run("SELECT create_sync_status_snapshot()").await,
            198 => {
                self.run("DELETE FROM connection_status WHERE client_id LIKE 'app %' AND status <> 'connected'").await
            }
            _ => {
                self.run("BEGIN; SET LOCAL lock_timeout = '60ms'; TRUNCATE sync_operations CASCADE; COMMIT").await
            }
        }
    }

    fn update(&mut self) -> String {
        let (id, count) = (self.shared(), self.choices.random_range(1..100));
        let change = match self.choices.random_range(0..6) {
            0 => format!("status = '{}'", self.one_of(&STATUSES)),
            1 => format!(
                "owner = '{}', status = '{}'",
                self.one_of(&OWNERS),
                self.one_of(&STATUSES)
            ),
            2 => format!(
                "operation_type = '{}', message = 'of another type'",
                self.one_of(&TYPES)
            ),
            3 => "message = message".to_owned(),
            _ => format!(
                "processed_items = processed_items + {count}, current_item = 'ä \"{count}\"'"
            ),
        };
        format!("UPDATE sync_operations SET {change} WHERE id = '{id}'")
    }

    fn upsert(&mut self) -> String {
        let id = self.shared();
        let (kind, owner, status) = (
            self.one_of(&TYPES),
            self.one_of(&OWNERS),
            self.one_of(&STATUSES),
        );
        format!(
            "INSERT INTO sync_operations (id, operation_type, owner, status) VALUES ('{id}', '{kind}', '{owner}', '{status}')
             ON CONFLICT (id) DO UPDATE SET processed_items = sync_operations.processed_items + 1, message = 'upserted'"
        )
    }

    fn connection(&mut self) -> String {
        let (client, latency) = (
            self.choices.random_range(0..12),
            self.choices.random_range(0..500),
        );
        let status = self.one_of(&[
            "connected",
            "connected",
            "disconnected",
            "reconnecting",
            "error",
        ]);
        format!("SELECT report_connection('app {client}', '{status}', {latency})")
    }

    async fn savepoints(&mut self) -> Written {
        let mut all = "BEGIN".to_owned();
        for level in 0..self.choices.random_range(1..5) {
            let (first, then) = (self.update(), self.upsert());
            let end = self.one_of(&["RELEASE", "ROLLBACK TO", "ROLLBACK TO"]);
            all += &format!("; {first}; SAVEPOINT s{level}; {then}; {end} s{level}");
        }
        all += "; ";
        all += self.one_of(&["COMMIT", "COMMIT", "ROLLBACK"]);
        self.run(&all).await
    }

    /// Reads, waits, writes; tried again while others are in the way.
    async fn isolated(&mut self) -> Written {
        let level = self.one_of(&["REPEATABLE READ", "SERIALIZABLE"]);
        let (first, then) = (self.update(), self.upsert());
        let wait = f64::from(self.choices.random_range(0..80)) / 1_000.0;
        let all = format!(
            "BEGIN ISOLATION LEVEL {level}; SELECT sum(processed_items) FROM sync_operations; SELECT pg_sleep({wait}); {first}; {then}; COMMIT"
        );
        for _ in 0..4 {
            match self.run(&all).await {
                Err(error) if error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE) => {
                    self.run("ROLLBACK").await?;
                }
                outcome => return outcome,
            }
        }
        Ok(())
    }

    async fn copy(&mut self) -> Written {
        let sink = self
            .client
            .copy_in("COPY sync_operations (id, operation_type, owner, status) FROM STDIN")
            .await?;
        let mut sink = std::pin::pin!(sink);
        for _ in 0..self.choices.random_range(1..60) {
            let id = self.fresh();
            let (kind, owner, status) = (
                self.one_of(&TYPES),
                self.one_of(&OWNERS),
                self.one_of(&STATUSES),
            );
            sink.send(bytes::Bytes::from(format!(
                "{id}\t{kind}\t{owner}\t{status}\n"
            )))
            .await?;
        }
        sink.finish().await?;
        Ok(())
    }

    /// Seconds, with something in between. It writes to rows of its own, so that nobody has to wait for it.
    async fn open_for_long(&mut self) -> Written {
        let (id, owner) = (self.fresh(), self.one_of(&OWNERS));
        self.run(&format!("BEGIN; INSERT INTO sync_operations (id, operation_type, owner) VALUES ('{id}', 'long', '{owner}')")).await?;
        for _ in 0..self.choices.random_range(1..4) {
            sleep(Duration::from_millis(self.choices.random_range(50..900))).await;
            self.run(&format!(
                "UPDATE sync_operations SET processed_items = processed_items + 1 WHERE id = '{id}'"
            ))
            .await?;
        }
        let end = self.one_of(&["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]);
        self.run(end).await
    }

    /// More than a backend keeps in shared memory.
    async fn many_subtransactions(&mut self) -> Written {
        let id = self.fresh();
        let all = format!(
            "DO $$ BEGIN
                INSERT INTO sync_operations (id, operation_type, owner) VALUES ('{id}', 'nested', 'ann');
                FOR n IN 1..90 LOOP
                    BEGIN
                        UPDATE sync_operations SET processed_items = n WHERE id = '{id}';
                        IF n % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;
                    EXCEPTION WHEN raise_exception THEN NULL;
                    END;
                END LOOP;
            END $$"
        );
        self.run(&all).await
    }
}
