//! How long and how much: each setting from the environment, with a default that keeps the whole within half an hour.

use std::fmt;
use std::str::FromStr;

use super::Outcome;

/// How much is measured.
pub(crate) struct Settings {
    /// How often each measurement is repeated, in alternation with the others (`BELLWETHER_BENCH_ROUNDS`).
    pub(crate) rounds: u32,
    /// Seconds of one round of writers, after the first one (`BELLWETHER_BENCH_WRITER_SECONDS`).
    pub(crate) writer_seconds: u32,
    /// Seconds of one round of latency (`BELLWETHER_BENCH_LATENCY_SECONDS`).
    pub(crate) latency_seconds: u32,
    /// Events a second whose age is measured (`BELLWETHER_BENCH_PROBES`).
    pub(crate) probes: u32,
    /// Changes a second that all busy writers together make where they do not go flat out (`BELLWETHER_BENCH_BUSY_RATE`).
    pub(crate) busy_rate: u32,
    /// How many writers at a time, a list (`BELLWETHER_BENCH_CLIENTS`).
    pub(crate) clients: Vec<u32>,
    /// Microseconds that a commit is delayed by, a list (`BELLWETHER_BENCH_COMMIT_DELAYS`); 0 leaves it as it is.
    pub(crate) commit_delays: Vec<u32>,
    /// Rows of one bulk statement (`BELLWETHER_BENCH_BULK_ROWS`).
    pub(crate) bulk_rows: u32,
    /// Subscribers that are cut off at once (`BELLWETHER_BENCH_SUBSCRIBERS`).
    pub(crate) subscribers: u32,
    /// Clients that never read (`BELLWETHER_BENCH_STALLED`).
    pub(crate) stalled: u32,
}

impl Settings {
    pub(crate) fn from_environment() -> Outcome<Self> {
        Ok(Self {
            rounds: number("BELLWETHER_BENCH_ROUNDS", 3, 1..=1_000)?,
            writer_seconds: number("BELLWETHER_BENCH_WRITER_SECONDS", 3, 2..=3_600)?,
            latency_seconds: number("BELLWETHER_BENCH_LATENCY_SECONDS", 2, 1..=3_600)?,
            probes: number("BELLWETHER_BENCH_PROBES", 200, 1..=1_000)?,
            busy_rate: number("BELLWETHER_BENCH_BUSY_RATE", 500, 1..=1_000_000)?,
            clients: list("BELLWETHER_BENCH_CLIENTS", "1,8,32", 1..=64)?,
            commit_delays: list("BELLWETHER_BENCH_COMMIT_DELAYS", "0,1000", 0..=100_000)?,
            subscribers: number("BELLWETHER_BENCH_SUBSCRIBERS", 5_000, 1..=20_000)?,
            stalled: number("BELLWETHER_BENCH_STALLED", 1_000, 1..=20_000)?,
            bulk_rows: number("BELLWETHER_BENCH_BULK_ROWS", 100_000, 1..=10_000_000)?,
        })
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds of {} s (latency) and {} s (writers), {} probes a second, {} rows in bulk",
            self.rounds, self.latency_seconds, self.writer_seconds, self.probes, self.bulk_rows
        )
    }
}

type Range = std::ops::RangeInclusive<u32>;

fn number(name: &str, default: u32, range: Range) -> Outcome<u32> {
    match std::env::var(name) {
        Ok(text) => parse(name, &text, &range),
        Err(_) => Ok(default),
    }
}

fn list(name: &str, default: &str, range: Range) -> Outcome<Vec<u32>> {
    let text = std::env::var(name).unwrap_or_else(|_| default.to_owned());
    text.split(',')
        .map(|item| parse(name, item, &range))
        .collect()
}

fn parse(name: &str, text: &str, range: &Range) -> Outcome<u32> {
    match u32::from_str(text.trim()) {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            let (least, most) = (range.start(), range.end());
            Err(format!("{name}: expected a number from {least} to {most}, got \"{text}\"").into())
        }
    }
}
