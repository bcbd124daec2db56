//! Applications that write while things break: known seeds, their own drivers, and no regard for the relay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, NoTls};
use tokio_util::sync::CancellationToken;

/// Rows that all writers fight over.
pub(crate) const SHARED_ROWS: i64 = 12;
/// How long a writer waits for an answer before it takes the session for dead.
const ANSWER: Duration = Duration::from_secs(3);
/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(50);

/// Writers at work. They end with this value.
pub(crate) struct Writers {
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    committed: Arc<AtomicU64>,
}

impl Writers {
    /// Starts some writers, each with a session of its own and a seed that follows from the given one. `begin` is what
    /// each session says first.
    pub(crate) fn start(url: &str, count: u64, seed: u64, begin: &str) -> Self {
        let (stop, committed) = (CancellationToken::new(), Arc::<AtomicU64>::default());
        let tasks = (0..count)
            .map(|number| {
                let writer = Writer {
                    url: url.to_owned(),
                    begin: begin.to_owned(),
                    number: i64::try_from(number).expect("few"),
                    draws: 0,
                    dice: StdRng::seed_from_u64(seed.wrapping_mul(1_000) + number),
                    committed: committed.clone(),
                };
                let stop = stop.clone();
                tokio::spawn(async move {
                    // Dropped where it stands: what it has not committed is rolled back.
                    stop.run_until_cancelled(writer.run()).await;
                })
            })
            .collect();
        Self {
            tasks,
            stop,
            committed,
        }
    }

    /// How many transactions the server has acknowledged.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    /// Ends them.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("a writer does not panic");
        }
    }
}

/// The rows that the writers fight over.
pub(crate) async fn make_rows(client: &Client) {
    client
        .execute_typed(
            "INSERT INTO sync_operations (id, operation_type, status, total_items)
             SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'shared', 'in_progress', 1000000
             FROM generate_series(0, $1::bigint - 1) n ON CONFLICT DO NOTHING",
            &[(&SHARED_ROWS, Type::INT8)],
        )
        .await
        .expect("rows to write to");
}

struct Writer {
    url: String,
    begin: String,
    number: i64,
    draws: i64,
    dice: StdRng,
    committed: Arc<AtomicU64>,
}

impl Writer {
    async fn run(mut self) {
        loop {
            let connecting = timeout(ANSWER, tokio_postgres::connect(&self.url, NoTls));
            if let Ok(Ok((client, connection))) = connecting.await {
                let driver = tokio::spawn(connection);
                self.write_until_lost(&client).await;
                driver.abort();
            }
            sleep(AGAIN).await;
        }
    }

    async fn write_until_lost(&mut self, client: &Client) {
        if client.batch_execute(&self.begin).await.is_err() {
            return;
        }
        loop {
            let statements = self.draw();
            match timeout(ANSWER, client.batch_execute(&statements)).await {
                Ok(Ok(())) => {
                    self.committed.fetch_add(1, Ordering::Relaxed);
                }
                // Somebody else's lock, a full disk: the application tries something else.
                Ok(Err(error)) if !is_lost(&error) => {
                    let rolled_back = timeout(ANSWER, client.batch_execute("ROLLBACK"));
                    if !matches!(rolled_back.await, Ok(Ok(()))) {
                        return;
                    }
                    sleep(AGAIN).await;
                }
                _ => return,
            }
            let breath = self.dice.random_range(0..5);
            sleep(Duration::from_millis(breath)).await;
        }
    }

    /// One transaction.
    fn draw(&mut self) -> String {
        let [some, other] = [(); 2].map(|()| shared(self.dice.random_range(0..SHARED_ROWS)));
        let own = self.own(self.draws);
        let old = self.own(self.draws - 8);
        let items = self.dice.random_range(0..1_000_000);
        let advance = |row: &str| {
            format!("UPDATE sync_operations SET processed_items = {items} WHERE id = '{row}'")
        };
        match self.dice.random_range(0..20) {
            // A row of one's own: created, and after eight others ended and deleted.
            0..4 => {
                self.draws += 1;
                format!(
                    "INSERT INTO sync_operations (id, operation_type, status) VALUES ('{own}', 'own', 'in_progress');
                     UPDATE sync_operations SET status = 'completed' WHERE id = '{old}';
                     DELETE FROM sync_operations WHERE id = '{old}'"
                )
            }
            4..6 => {
                format!("SELECT record_sync_error('{some}', 'no such file', item => '{items}.txt')")
            }
            // In the order of their ids, so that two of these do not deadlock; and one that is undone.
            6..9 => {
                let (first, second) = if some < other {
                    (&some, &other)
                } else {
                    (&other, &some)
                };
                format!(
                    "BEGIN; {}; SAVEPOINT s; UPDATE sync_operations SET message = 'never' WHERE id = '{second}';
                     ROLLBACK TO s; {}; COMMIT",
                    advance(first),
                    advance(second)
                )
            }
            // Transaction ids and event ids that nobody will ever see.
            9..13 => format!("BEGIN; {}; ROLLBACK", advance(&some)),
            _ => advance(&some),
        }
    }

    /// The nth row of this writer's own.
    fn own(&self, nth: i64) -> String {
        format!(
            "00000000-0000-4000-9000-{:04}{:08}",
            self.number,
            nth.max(0)
        )
    }
}

fn shared(number: i64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// Whether the session is over.
fn is_lost(error: &Error) -> bool {
    error.is_closed()
        || error
            .as_db_error()
            .is_none_or(|error| error.severity() != "ERROR")
}
