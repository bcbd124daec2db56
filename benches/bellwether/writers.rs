//! What single-row writers pay: transactions a second with and without triggers, and bytes a change.

use std::time::Duration;

use super::Outcome;
use super::arms::{Arm, BARE, LOUD, NAIVE, OPERATIONS, OURS, PLAIN, SILENT, Stage};
use super::numbers::{Percentiles, median, range};
use super::pgbench::{Plan, WARM_UP};
use super::probes::settle;
use super::receiver::Receiver;
use super::settings::Settings;
use super::table::{Table, cell, range_cell};

const ARMS: [Arm; 6] = [PLAIN, BARE, OURS, LOUD, SILENT, NAIVE];
/// Seconds of writing, after [`WARM_UP`], ahead of the first round of each arm: for the caches and for the images of whole
/// pages that follow a checkpoint.
const FIRST_RUN: u32 = 2;

/// One round of one arm.
struct Round {
    tps: f64,
    transactions: f64,
    /// Bytes of WAL.
    wal: f64,
    /// Of what was received after [`WARM_UP`].
    ages: Option<Percentiles>,
    received: usize,
    /// Share of one core that the relay used.
    relay: Option<f64>,
}

/// Who receives meanwhile.
pub(crate) struct Receivers {
    listener: Receiver,
    subscriber: Receiver,
}

impl Receivers {
    pub(crate) async fn connect(stage: &Stage) -> Outcome<Self> {
        Ok(Self {
            listener: Receiver::listen(&stage.server.url(NAIVE.database)).await?,
            subscriber: Receiver::subscribe(stage.relay.address, "topics=operations").await?,
        })
    }

    /// Whoever receives what this arm's writers write.
    pub(crate) fn of(&self, arm: Arm) -> Option<&Receiver> {
        match arm.database {
            database if database == NAIVE.database => Some(&self.listener),
            database if database == OURS.database => Some(&self.subscriber),
            _ => None,
        }
    }
}

/// Measures and prints.
pub(crate) async fn measure(stage: &Stage, settings: &Settings) -> Outcome<()> {
    let receivers = Receivers::connect(stage).await?;
    for arm in ARMS {
        warm_up(stage, arm, &receivers).await?;
    }
    let mut bytes = Bytes::begin(stage).await?;
    for delay in &settings.commit_delays {
        let mut table = Table::new(&[
            "clients, triggers",
            "tps",
            "tps by round",
            "of no triggers",
            "times pg_notify",
            "age p50 ms",
            "age p99 ms",
            "received %",
            "relay, cores",
        ]);
        for clients in &settings.clients {
            let mut rounds: [Vec<Round>; ARMS.len()] = Default::default();
            for _ in 0..settings.rounds {
                for (arm, rounds) in ARMS.iter().zip(&mut rounds) {
                    let plan = Plan {
                        arm: *arm,
                        clients: *clients,
                        seconds: settings.writer_seconds,
                        commit_delay: *delay,
                        rate: None,
                        operations: OPERATIONS,
                    };
                    rounds.push(round(stage, &plan, &receivers).await?);
                }
            }
            let [plain, .., naive] = &rounds;
            for (arm, own) in ARMS.iter().zip(&rounds) {
                table.row(row(*clients, *arm, own, plain, naive));
            }
            bytes.add(&rounds);
        }
        table.print(&match delay {
            0 => "Writers, commits as they are".to_owned(),
            delay => format!("Writers, commits delayed by {delay} microseconds"),
        });
    }
    bytes.print(stage).await
}

/// A run that is not counted.
pub(crate) async fn warm_up(stage: &Stage, arm: Arm, receivers: &Receivers) -> Outcome<()> {
    let plan = Plan {
        arm,
        clients: 8,
        seconds: FIRST_RUN,
        commit_delay: 0,
        rate: None,
        operations: OPERATIONS,
    };
    round(stage, &plan, receivers).await?;
    Ok(())
}

async fn round(stage: &Stage, plan: &Plan, receivers: &Receivers) -> Outcome<Round> {
    let receiver = receivers.of(plan.arm);
    if let Some(receiver) = receiver {
        settle(&stage.server, plan.arm.database, receiver).await?;
        receiver.take()?;
    }
    let (wal, relay) = (stage.server.wal().await?, stage.relay.processor_seconds());
    let run = plan.start(&stage.server).await?;
    tokio::time::sleep(Duration::from_secs(WARM_UP.into())).await;
    let early = match receiver {
        Some(receiver) => receiver.take()?.load.len(),
        None => 0,
    };
    let report = run.finish().await?;
    let used = stage
        .relay
        .processor_seconds()
        .zip(relay)
        .map(|(after, before)| after - before);
    let wal = stage.server.wal().await? - wal;
    let received = match receiver {
        Some(receiver) => {
            settle(&stage.server, plan.arm.database, receiver).await?;
            receiver.take()?.load
        }
        None => Vec::new(),
    };
    Ok(Round {
        tps: report.tps,
        transactions: report.transactions,
        wal,
        received: early + received.len(),
        ages: Percentiles::of(received),
        relay: used.map(|used| used / f64::from(WARM_UP + plan.seconds)),
    })
}

fn row(clients: u32, arm: Arm, own: &[Round], plain: &[Round], naive: &[Round]) -> Vec<String> {
    let tps = || own.iter().map(|round| round.tps);
    let against = |other: &[Round]| {
        let ratios = own
            .iter()
            .zip(other)
            .map(|(own, other)| own.tps / other.tps);
        median(ratios.collect::<Vec<_>>())
    };
    let ages: Vec<_> = own.iter().filter_map(|round| round.ages).collect();
    let ages = Percentiles::median(&ages);
    let received: usize = own.iter().map(|round| round.received).sum();
    let written: f64 = own.iter().map(|round| round.transactions).sum();
    let is_received = ![PLAIN.database, BARE.database].contains(&arm.database);
    let is_relayed = arm.database == OURS.database;
    vec![
        format!("{clients}: {}", arm.name),
        cell(median(tps()), 0),
        range_cell(range(tps()), 0),
        cell(against(plain), 2),
        cell(against(naive), 2),
        cell(ages.map(|ages| ages.p50), 1),
        cell(ages.map(|ages| ages.p99), 1),
        cell(is_received.then_some(100.0 * received as f64 / written), 0),
        cell(
            median(own.iter().filter_map(|round| round.relay)).filter(|_| is_relayed),
            2,
        ),
    ]
}

/// What was written meanwhile, over all rounds.
struct Bytes {
    wal: [f64; ARMS.len()],
    transactions: [f64; ARMS.len()],
    /// Bytes of the event log's rows and of its index before.
    log: (f64, f64),
}

impl Bytes {
    async fn begin(stage: &Stage) -> Outcome<Self> {
        Ok(Self {
            wal: [0.0; ARMS.len()],
            transactions: [0.0; ARMS.len()],
            log: log_size(stage).await?,
        })
    }

    fn add(&mut self, rounds: &[Vec<Round>; ARMS.len()]) {
        for (arm, rounds) in rounds.iter().enumerate() {
            self.wal[arm] += rounds.iter().map(|round| round.wal).sum::<f64>();
            self.transactions[arm] += rounds.iter().map(|round| round.transactions).sum::<f64>();
        }
    }

    async fn print(&self, stage: &Stage) -> Outcome<()> {
        let (rows, index) = log_size(stage).await?;
        let changes: f64 = ARMS
            .iter()
            .zip(&self.transactions)
            .filter(|(arm, _)| arm.database == OURS.database)
            .map(|(_, changes)| changes)
            .sum();
        let mut table = Table::new(&[
            "triggers",
            "bytes of WAL",
            "bytes of log, rows",
            "bytes of log, index",
        ]);
        for (index_of_arm, arm) in ARMS.iter().enumerate() {
            let logged = arm.database == OURS.database && changes > 0.0;
            table.row(vec![
                arm.name.to_owned(),
                cell(
                    Some(self.wal[index_of_arm] / self.transactions[index_of_arm]),
                    0,
                ),
                cell(logged.then(|| (rows - self.log.0) / changes), 0),
                cell(logged.then(|| (index - self.log.1) / changes), 0),
            ]);
        }
        table.print("Bytes a change");
        Ok(())
    }
}

async fn log_size(stage: &Stage) -> Outcome<(f64, f64)> {
    let session = stage.server.session(OURS.database).await?;
    let size = "SELECT sum(pg_table_size(inhrelid))::double precision, sum(pg_indexes_size(inhrelid))::double precision
        FROM pg_inherits WHERE inhparent = 'bellwether.event'::regclass";
    let row = session.query_one(size, &[]).await?;
    Ok((row.get(0), row.get(1)))
}
