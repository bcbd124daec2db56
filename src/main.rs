//! The `bellwether` program: reads the command line, starts what it asks for, and says how it ended.

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use bellwether::app::{self, AppError, Database};
use bellwether::cli::{Cli, Command, DoctorArgs, ServeArgs};
use bellwether::postgres::migrate::migrate;
use bellwether::scheduler::take_snapshot;
use bellwether::{doctor, shutdown, tail, telemetry};
use clap::Parser;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bellwether: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Box<dyn Error>> {
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
        Command::Doctor(args) => return examine(&args, stop).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: ServeArgs, stop: CancellationToken) -> Result<(), AppError> {
    let listener = app::bind(args.relay.listen)?;
    let database = Database::open(args.database).await?;
    tracing::info!("listening on http://{}", args.relay.listen);
    app::run(database, listener, &args.relay, stop).await
}

async fn examine(args: &DoctorArgs, stop: CancellationToken) -> Result<ExitCode, Box<dyn Error>> {
    let options = args.options();
    let report = tokio::select! {
        report = doctor::examine(&options) => report,
        () = stop.cancelled() => return Err("interrupted".into()),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        let coloured = std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        print!("{}", doctor::text(&report, coloured));
    }
    Ok(report.exit_code(args.strict))
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
