//! Logging: to standard error, for people or for machines.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `filter` is a list of directives such as `info,bellwether=debug`.
///
/// # Errors
/// Where logging has been started before.
pub fn start(filter: &EnvFilter, format: LogFormat) -> Result<(), TryInitError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter.clone())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.with_target(false).finish().try_init(),
        LogFormat::Json => builder.json().finish().try_init(),
    }
}
