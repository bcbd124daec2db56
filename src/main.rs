//! The `bellwether` program: reads the command line, starts what it asks for, and says how it ended.

use std::error::Error;
use std::process::ExitCode;

use bellwether::app::{self, AppError, Database};
use bellwether::cli::{Cli, Command, ServeArgs};
use bellwether::postgres::migrate::migrate;
use bellwether::scheduler::take_snapshot;
use bellwether::{shutdown, tail, telemetry};
use clap::Parser;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bellwether: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    telemetry::start(&cli.log, cli.log_format)?;
    let stop = CancellationToken::new();
    shutdown::on_signal(stop.clone())?;
    match cli.command {
        Command::Serve(args) => serve(*args, stop).await?,
        Command::Demo(args) => app::demo(*args, stop).await?,
        Command::Tail(args) => tail::run(args.options(), stop).await?,
        Command::Migrate(args) => println!("{}", migrate(&args.database_url).await?),
        Command::Snapshot(args) => {
            println!(
                "{}",
                take_snapshot(&args.database.database_url, args.health_window).await?
            );
        }
    }
    Ok(())
}

async fn serve(args: ServeArgs, stop: CancellationToken) -> Result<(), AppError> {
    let listener = app::bind(args.relay.listen)?;
    let database = Database::open(args.database).await?;
    tracing::info!("listening on http://{}", args.relay.listen);
    app::run(database, listener, &args.relay, stop).await
}

/// An error and what caused it, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
