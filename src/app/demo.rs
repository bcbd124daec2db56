//! `bellwether demo`: a database, a relay, and real work to watch, in one process.
//!
//! They share nothing but the database's address: the jobs are applications like any other.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{AppError, Database, bind, is_migrated, run};
use crate::cli::DemoArgs;
use crate::demo::{self, DemoOptions};
use crate::postgres::migrate::migrate;

/// A demo that is left running overnight must not fill the disk: events are kept for six hours at most.
const KEEP_EVENTS: Duration = Duration::from_secs(6 * 60 * 60);

/// Runs the demo until the token is cancelled, or its rounds are over.
///
/// # Errors
/// Where the database, the relay or the jobs do not start, or cannot go on.
pub async fn demo(mut args: DemoArgs, stop: CancellationToken) -> Result<(), AppError> {
    args.relay.keep_events = args.relay.keep_events.min(KEEP_EVENTS);
    let listener = bind(args.relay.listen)?;
    let database = match args.database_url.clone() {
        Some(config) => Database {
            config,
            embedded: None,
        },
        None => Database::embedded(args.embedded.clone()).await?,
    };
    let config = database.config.clone();
    if args.relay.no_migrate {
        is_migrated(&config).await?;
    } else {
        migrate(&config).await?;
    }
    print!("{}", greeting(&args, &database));

    let options = DemoOptions {
        sources: args.mirror.clone(),
        pace: args.pace,
        rounds: args.rounds,
        ..DemoOptions::new(args.scratch.clone().unwrap_or_else(default_scratch))
    };
    // First the jobs end, and everyone sees them end; then the relay, then the database.
    let worked = CancellationToken::new();
    let jobs = async {
        let outcome = demo::run(config, options, stop.clone()).await;
        worked.cancel();
        outcome
    };
    let relay = async {
        let outcome = run(database, listener, &args.relay, worked.clone()).await;
        stop.cancel();
        outcome
    };
    let (jobs, relay) = tokio::join!(jobs, relay);
    relay?;
    Ok(jobs?)
}

/// A folder of the demo's own among the temporary ones.
fn default_scratch() -> PathBuf {
    std::env::temp_dir().join("bellwether-demo")
}

/// Where to look, and what to type next.
fn greeting(args: &DemoArgs, database: &Database) -> String {
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "bellwether".to_owned());
    let address = args.relay.listen;
    let tail = if address
        == crate::cli::DEFAULT_LISTEN
            .parse()
            .expect("the default is an address")
    {
        format!("{program} tail")
    } else {
        format!("{program} tail --url http://{address}")
    };
    let mut text = format!(
        "\nBellwether is running, and real jobs report through it.\n\n\
         \x20 look     http://{address}\n\
         \x20 follow   {tail}\n\
         \x20          curl -N http://{address}/events\n"
    );
    if let Some(server) = &database.embedded {
        let url = server.url();
        text.push_str(&format!(
            "\x20 ask      psql \"{url}\"\n\
             \x20 write    psql \"{url}\" -c \"SELECT create_sync_operation('my_first_job', total_items => 10)\"\n"
        ));
        if let Some(pid) = server.pid() {
            text.push_str(&format!(
                "\x20 break    kill -9 {pid}   (the database; see every screen say so; it comes back in seconds, and nothing is missing)\n"
            ));
        }
    }
    text.push_str("\x20 stop     Ctrl-C\n\n");
    text
}
