//! Measures what the design promises: how old an event is when a subscriber gets it, and what writers pay for it.
//!
//! `cargo bench --bench bellwether -- latency writers parts sessions stalled bulk resume replay` (all of them where none is
//! named). Everything runs on this machine against a PostgreSQL of its own, and what is compared is measured in the same
//! run, in alternating rounds, so that ratios mean something where absolute numbers do not. `docs/benchmarks.md` says
//! what is measured and what not.

mod arms;
mod bulk;
mod latency;
mod numbers;
mod parts;
mod pgbench;
mod probes;
mod receiver;
mod relay;
mod replay;
mod resume;
mod server;
mod sessions;
mod settings;
mod stalled;
mod table;
mod writers;

use std::process::ExitCode;

use settings::Settings;

/// What a measurement returns, or why it could not be made.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What can be asked for by name.
const SECTIONS: [&str; 8] = [
    "latency", "writers", "parts", "sessions", "stalled", "bulk", "resume", "replay",
];

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Outcome<()> {
    let wanted = wanted(std::env::args().skip(1))?;
    let settings = Settings::from_environment()?;
    let stage = arms::Stage::set().await?;
    println!("{}", stage.server.describe().await?);
    println!("Settings: {settings}\n");
    for section in wanted {
        match section {
            "latency" => latency::measure(&stage, &settings).await?,
            "writers" => writers::measure(&stage, &settings).await?,
            "parts" => parts::measure(&stage, &settings).await?,
            "sessions" => sessions::measure(&stage, &settings).await?,
            "resume" => resume::measure(&stage, &settings).await?,
            "replay" => replay::measure(&stage, &settings).await?,
            "stalled" => stalled::measure(&stage, &settings).await?,
            _ => bulk::measure(&stage, &settings).await?,
        }
    }
    stage.strike().await;
    Ok(())
}

/// The sections to run, in their usual order. Cargo adds `--bench` of its own accord.
fn wanted(arguments: impl Iterator<Item = String>) -> Outcome<Vec<&'static str>> {
    let named: Vec<String> = arguments.filter(|argument| argument != "--bench").collect();
    if let Some(unknown) = named.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
        return Err(format!("expected {}, got \"{unknown}\"", SECTIONS.join(", ")).into());
    }
    Ok(SECTIONS
        .into_iter()
        .filter(|section| named.is_empty() || named.iter().any(|name| name == section))
        .collect())
}
