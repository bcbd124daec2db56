//! How old an event is when it is received: from the clock in the writing statement to the receiver's.

use super::Outcome;
use super::arms::{Arm, NAIVE, OPERATIONS, OURS, Stage};
use super::numbers::{Percentiles, median, range};
use super::pgbench::{Plan, WARM_UP};
use super::probes;
use super::receiver::Receiver;
use super::settings::Settings;
use super::table::{Table, cell, range_cell};

/// How many writers are busy with other operations.
const BUSY_WRITERS: u32 = 8;
/// Seconds that they go on after the last probe. Before the first one they have been busy for [`WARM_UP`].
const AFTER: u32 = 1;

/// What else goes on in the database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Idle,
    /// So many changes a second.
    Busy(u32),
    FlatOut,
}

impl Load {
    fn name(self) -> String {
        match self {
            Self::Idle => "idle".to_owned(),
            Self::Busy(rate) => format!("{BUSY_WRITERS} writers, {rate}/s in all"),
            Self::FlatOut => format!("{BUSY_WRITERS} writers, flat out"),
        }
    }
}

/// Who receives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Listener,
    /// A subscriber to the probed operations.
    Filtered,
    /// A subscriber to all operations.
    Unfiltered,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Listener => "LISTEN, pg_notify a row",
            Self::Filtered => "bellwether, own operations",
            Self::Unfiltered => "bellwether, all operations",
        }
    }

    fn arm(self) -> Arm {
        match self {
            Self::Listener => NAIVE,
            Self::Filtered | Self::Unfiltered => OURS,
        }
    }

    async fn connect(self, stage: &Stage) -> Outcome<Receiver> {
        let query = match self {
            Self::Listener => {
                return Receiver::listen(&stage.server.url(NAIVE.database)).await;
            }
            Self::Filtered => format!(
                "topics=operations&operation_id={}",
                probes::probed_operations()
            ),
            Self::Unfiltered => "topics=operations".to_owned(),
        };
        Receiver::subscribe(stage.relay.address, &query).await
    }
}

/// One round.
struct Round {
    ages: Option<Percentiles>,
    /// How long the probes' statements took, with their commits.
    writes: Option<Percentiles>,
    written: usize,
    received: usize,
    /// What the busy writers achieved.
    load_tps: Option<f64>,
    /// Ages of the busy writers' events, where they are received.
    load_ages: Option<Percentiles>,
}

/// Measures and prints.
pub(crate) async fn measure(stage: &Stage, settings: &Settings) -> Outcome<()> {
    let mut table = Table::new(&[
        "database, receiver",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p50 by round",
        "p50 above LISTEN",
        "write p50 ms",
        "received",
        "load tps",
        "load p50 ms",
        "load p99 ms",
    ]);
    let plans = [
        (Load::Idle, vec![Who::Listener, Who::Filtered]),
        (
            Load::Busy(settings.busy_rate),
            vec![Who::Listener, Who::Filtered, Who::Unfiltered],
        ),
        (
            Load::FlatOut,
            vec![Who::Listener, Who::Filtered, Who::Unfiltered],
        ),
    ];
    for (load, receivers) in plans {
        let mut rounds: Vec<Vec<Round>> = receivers.iter().map(|_| Vec::new()).collect();
        // The first time is for the caches, and is thrown away.
        for number in 0..=settings.rounds {
            for (index, who) in receivers.iter().enumerate() {
                let round = round(stage, settings, *who, load).await?;
                if number > 0 {
                    rounds[index].push(round);
                }
            }
        }
        let naive = p50s(&rounds[0]);
        for (who, rounds) in receivers.iter().zip(&rounds) {
            let above = p50s(rounds)
                .into_iter()
                .zip(&naive)
                .map(|(ours, naive)| ours - naive);
            let above = (*who != Who::Listener).then(|| median(above)).flatten();
            table.row(row(load, *who, rounds, above));
        }
    }
    table.print(&format!(
        "Age of an event at its receiver, {} probes a second (medians of {} rounds)",
        settings.probes, settings.rounds
    ));
    Ok(())
}

async fn round(stage: &Stage, settings: &Settings, who: Who, load: Load) -> Outcome<Round> {
    let receiver = who.connect(stage).await?;
    let (server, database) = (&stage.server, who.arm().database);
    probes::settle(server, database, &receiver).await?;
    let plan = Plan {
        arm: who.arm(),
        clients: BUSY_WRITERS,
        seconds: settings.latency_seconds + AFTER,
        commit_delay: 0,
        rate: match load {
            Load::Busy(rate) => Some(rate),
            _ => None,
        },
        operations: OPERATIONS,
    };
    let busy = match load {
        Load::Idle => None,
        _ => Some(plan.start(server).await?),
    };
    if busy.is_some() {
        tokio::time::sleep(std::time::Duration::from_secs(WARM_UP.into())).await;
    }
    receiver.take()?;
    let taken = probes::write(server, database, settings.probes, settings.latency_seconds).await?;
    probes::await_stragglers(&receiver, taken.len()).await;
    let tally = receiver.take()?;
    let load_tps = match busy {
        Some(run) => Some(run.finish().await?.tps),
        None => None,
    };
    probes::settle(server, database, &receiver).await?;
    Ok(Round {
        written: taken.len(),
        writes: Percentiles::of(taken),
        received: tally.probes.len(),
        ages: Percentiles::of(tally.probes),
        load_tps,
        load_ages: Percentiles::of(tally.load),
    })
}

fn p50s(rounds: &[Round]) -> Vec<f64> {
    rounds
        .iter()
        .filter_map(|round| Some(round.ages?.p50))
        .collect()
}

fn row(load: Load, who: Who, rounds: &[Round], above: Option<f64>) -> Vec<String> {
    let ages: Vec<_> = rounds.iter().filter_map(|round| round.ages).collect();
    let ages = Percentiles::median(&ages);
    let load_ages: Vec<_> = rounds.iter().filter_map(|round| round.load_ages).collect();
    let load_ages = Percentiles::median(&load_ages);
    let sum = |count: fn(&Round) -> usize| rounds.iter().map(count).sum::<usize>();
    let tps = median(rounds.iter().filter_map(|round| round.load_tps));
    vec![
        format!("{}: {}", load.name(), who.name()),
        cell(ages.map(|ages| ages.p50), 2),
        cell(ages.map(|ages| ages.p90), 2),
        cell(ages.map(|ages| ages.p99), 2),
        range_cell(range(p50s(rounds)), 2),
        above.map_or_else(|| "-".to_owned(), |above| format!("{above:+.2}")),
        cell(
            median(rounds.iter().filter_map(|round| Some(round.writes?.p50))),
            2,
        ),
        format!(
            "{}/{}",
            sum(|round| round.received),
            sum(|round| round.written)
        ),
        cell(tps, 0),
        cell(load_ages.map(|ages| ages.p50), 2),
        cell(load_ages.map(|ages| ages.p99), 2),
    ]
}
