//! The command line: names, defaults and bounds of every setting. Each may come from the environment instead.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::doctor::DoctorOptions;
use crate::http::AllowedOrigin;
use crate::hub::HubLimits;
use crate::hub::mirror::MirrorLimits;
use crate::postgres::config::DatabaseConfig;
use crate::scheduler::SchedulerOptions;
use crate::source::SourceOptions;
use crate::tail::{self, TailOptions};
use crate::telemetry::LogFormat;

/// Where the relay listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// A database that answers later than this may merely be busy, however short the heartbeat is.
const SHORTEST_SILENCE: Duration = Duration::from_secs(1);

/// A Postgres-driven event relay: rows in, live screens out, nothing lost.
#[derive(Debug, Parser)]
#[command(name = "bellwether", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What to log: directives such as `info` or `warn,bellwether=debug`.
    #[arg(
        long,
        env = "BELLWETHER_LOG",
        default_value = "info,warp=off",
        global = true,
        value_name = "DIRECTIVES"
    )]
    pub log: EnvFilter,
    /// What a line of the log looks like.
    #[arg(
        long,
        env = "BELLWETHER_LOG_FORMAT",
        default_value = "text",
        global = true,
        value_enum,
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
}

/// What `bellwether` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the relay
    Serve(Box<ServeArgs>),
    /// Run a relay with an embedded PostgreSQL, and real work to watch
    Demo(Box<DemoArgs>),
    /// Follow a relay from a terminal
    Tail(TailArgs),
    /// Bring a database to the schema of this version
    Migrate(DatabaseArgs),
    /// Take a health snapshot now and print it as JSON
    Snapshot(SnapshotArgs),
    /// Check the whole path from a write to a screen; say what is wrong and what to do
    #[command(after_help = DOCTOR_EXIT)]
    Doctor(DoctorArgs),
}

/// Which database.
#[derive(Clone, Debug, Args)]
pub struct DatabaseArgs {
    /// The database: a libpq URL or `name=value` pairs
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: DatabaseConfig,
}

/// Options of `snapshot`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotArgs {
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// How far back ended operations count
    #[arg(long, env = "BELLWETHER_HEALTH_WINDOW", default_value = "15m", value_parser = duration, value_name = "DURATION")]
    pub health_window: Duration,
}

/// What scripts want to know.
const DOCTOR_EXIT: &str = "Exit status: 0 all is well (warnings allowed), 1 something is not, 2 the database cannot be reached or the \
    command line makes no sense. Nothing is written unless --write is given.";

/// Options of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// A relay to check too
    #[arg(long, env = "BELLWETHER_URL", value_name = "URL", value_parser = relay_url)]
    pub relay_url: Option<reqwest::Url>,
    /// Write an operation, see that it comes out of the relay, and delete it again
    #[arg(long, requires = "relay_url")]
    pub write: bool,
    /// A role that applications write as, to check its rights
    #[arg(long, value_name = "ROLE")]
    pub writer: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Let warnings fail, too
    #[arg(long)]
    pub strict: bool,
    /// How long one check may take
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,
    /// How long a transaction may be writing before it is a warning
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub long_transaction: Duration,
    /// How long events are kept, as the relays were told
    #[arg(long, env = "BELLWETHER_KEEP_EVENTS", default_value = "7d", value_parser = duration, value_name = "DURATION")]
    pub keep_events: Duration,
    /// Bytes of events that are kept at most, as the relays were told
    #[arg(long, env = "BELLWETHER_KEEP_EVENTS_BYTES", default_value_t = SchedulerOptions::default().keep_events_bytes,
        value_parser = clap::value_parser!(u64).range(1_048_576..), value_name = "BYTES")]
    pub keep_events_bytes: u64,
    /// Sessions of a relay's pool, as it was told
    #[arg(long, env = "BELLWETHER_POOL_SIZE", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=1000), value_name = "N")]
    pub pool_size: u16,
    /// After how long without a sign of life a relay is dead, as the relays were told
    #[arg(long, env = "BELLWETHER_RELAY_DEAD_AFTER", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub relay_dead_after: Duration,
}

impl DoctorArgs {
    /// What to examine.
    pub fn options(&self) -> DoctorOptions {
        DoctorOptions {
            database: self.database.database_url.clone(),
            relay: self.relay_url.clone(),
            write: self.write,
            writer: self.writer.clone(),
            limit: self.timeout,
            long_transaction: self.long_transaction,
            keep_events: self.keep_events,
            keep_events_bytes: self.keep_events_bytes,
            pool_size: self.pool_size,
            relay_dead_after: self.relay_dead_after,
        }
    }
}

/// Options of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Which database, or none.
    #[command(flatten)]
    pub database: DatabaseChoice,
    /// Everything else.
    #[command(flatten)]
    pub relay: RelayArgs,
}

/// A database somewhere, or one of our own.
#[derive(Clone, Debug, Args)]
pub struct DatabaseChoice {
    /// The database: a libpq URL or `name=value` pairs
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        required_unless_present = "embedded"
    )]
    pub database_url: Option<DatabaseConfig>,
    /// Run a PostgreSQL of our own instead, with its data in this folder (made on first use)
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    pub embedded: Option<Option<PathBuf>>,
}

/// Options of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// The database: a libpq URL or `name=value` pairs; a PostgreSQL of our own unless given
    #[arg(
        long,
        hide_env_values = true,
        value_name = "URL",
        conflicts_with = "embedded"
    )]
    pub database_url: Option<DatabaseConfig>,
    /// Where a PostgreSQL of our own has its data
    #[arg(long, value_name = "DIR")]
    pub embedded: Option<PathBuf>,
    /// The folder that the jobs mirror into
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// A folder to mirror; may be given again. Folders that most machines have unless given
    #[arg(long = "mirror", value_name = "DIR")]
    pub mirror: Vec<PathBuf>,
    /// How long each job waits after each file, so that a person can watch
    #[arg(long, default_value = "25ms", value_parser = duration, value_name = "DURATION")]
    pub pace: Duration,
    /// How many rounds to go; for ever unless given
    #[arg(long, value_name = "N")]
    pub rounds: Option<u32>,
    /// How the relay runs.
    #[command(flatten)]
    pub relay: RelayArgs,
}

/// Options of `tail`. Lists are separated by commas; every list that is given must be met.
#[derive(Clone, Debug, Args)]
pub struct TailArgs {
    /// The relay
    #[arg(long, env = "BELLWETHER_URL", default_value = tail::DEFAULT_URL, value_name = "URL")]
    pub url: String,
    /// operations, errors, connections, health
    #[arg(long, value_delimiter = ',', value_name = "TOPICS")]
    pub topics: Vec<String>,
    /// Ids of operations
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    pub operation_id: Vec<String>,
    /// Whose operations
    #[arg(long, value_delimiter = ',', value_name = "OWNERS")]
    pub owner: Vec<String>,
    /// What kind of operations
    #[arg(long, value_delimiter = ',', value_name = "TYPES")]
    pub operation_type: Vec<String>,
    /// Statuses of operations and connections
    #[arg(long, value_delimiter = ',', value_name = "STATUSES")]
    pub status: Vec<String>,
    /// Sources of operations and connections
    #[arg(long, value_delimiter = ',', value_name = "SOURCES")]
    pub source: Vec<String>,
    /// What to see when changes come faster than they are read
    #[arg(long, value_enum, value_name = "MODE")]
    pub mode: Option<tail::Mode>,
    /// Resume from this cursor
    #[arg(long, value_name = "CURSOR")]
    pub since: Option<String>,
    /// One JSON line an event, also on a terminal
    #[arg(long)]
    pub json: bool,
    /// Begin with the present state (the default for people) or not (the default for JSON)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub snapshot: Option<bool>,
    /// Show the present state and end
    #[arg(long)]
    pub once: bool,
    /// End when all operations of --operation-id have ended, and fail unless all completed
    #[arg(long)]
    pub until_done: bool,
}

impl TailArgs {
    /// What to follow, and how to show it.
    pub fn options(self) -> TailOptions {
        let usual = TailOptions::default();
        TailOptions {
            url: self.url,
            topics: self.topics,
            operation_id: self.operation_id,
            owner: self.owner,
            operation_type: self.operation_type,
            status: self.status,
            source: self.source,
            mode: self.mode,
            since: self.since,
            json: self.json || usual.json,
            snapshot: self.snapshot,
            once: self.once,
            until_done: self.until_done,
        }
    }
}

/// How the relay runs.
#[derive(Clone, Debug, Args)]
pub struct RelayArgs {
    /// The address to listen on
    #[arg(long, env = "BELLWETHER_LISTEN", default_value = DEFAULT_LISTEN, value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Leave the schema as it is, and refuse to start where it is not this version's
    #[arg(long, env = "BELLWETHER_NO_MIGRATE")]
    pub no_migrate: bool,
    /// Origins whose pages may subscribe besides the relay's own, separated by commas; * for all
    #[arg(
        long,
        env = "BELLWETHER_ALLOW_ORIGIN",
        value_delimiter = ',',
        value_name = "ORIGIN"
    )]
    pub allow_origin: Vec<AllowedOrigin>,
    /// A connection past the pooler, where the database is behind one that cannot LISTEN: the relay listens and looks
    /// there
    #[arg(
        long,
        env = "BELLWETHER_LISTEN_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub listen_url: Option<DatabaseConfig>,
    /// Sessions of the database pool (besides those that listen, look and ring)
    #[arg(long, env = "BELLWETHER_POOL_SIZE", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=1000), value_name = "N")]
    pub pool_size: u16,
    /// The longest time between two looks, bell or no bell
    #[arg(long, env = "BELLWETHER_TICK", default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub tick: Duration,
    /// The longest time between two looks where LISTEN cannot work: behind a transaction pooler
    #[arg(long, env = "BELLWETHER_POLL", default_value = "200ms", value_parser = duration, value_name = "DURATION")]
    pub poll: Duration,
    /// How often the relay rings its own doorbell to prove that it hears; more often where the heartbeat is short
    #[arg(long, env = "BELLWETHER_PROBE", default_value = "3s", value_parser = duration, value_name = "DURATION")]
    pub probe: Duration,
    /// How long the database may take to answer before the session is given up
    #[arg(long, env = "BELLWETHER_PATIENCE", default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub patience: Duration,
    /// How often each subscriber is told up to when it is complete
    #[arg(long, env = "BELLWETHER_HEARTBEAT", default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub heartbeat: Duration,
    /// Most subscribers at the same time
    #[arg(
        long,
        env = "BELLWETHER_MAX_SUBSCRIBERS",
        default_value_t = 20_000,
        value_name = "N"
    )]
    pub max_subscribers: usize,
    /// Bytes of recent events kept in memory for resuming
    #[arg(long, env = "BELLWETHER_RING_BYTES", default_value_t = HubLimits::default().ring_bytes, value_name = "BYTES")]
    pub ring_bytes: usize,
    /// Bytes that may wait for one slow subscription
    #[arg(long, env = "BELLWETHER_SUBSCRIBER_BYTES", default_value_t = HubLimits::default().subscriber_bytes, value_name = "BYTES")]
    pub subscriber_bytes: usize,
    /// Most rows of a table in the snapshots that subscribers start from
    #[arg(long, env = "BELLWETHER_MIRROR_ROWS", default_value_t = MirrorLimits::default().rows, value_name = "N")]
    pub mirror_rows: usize,
    /// Ended operations and closed connections among them
    #[arg(long, env = "BELLWETHER_MIRROR_RECENT", default_value_t = MirrorLimits::default().recent, value_name = "N")]
    pub mirror_recent: usize,
    /// How often health is recorded
    #[arg(long, env = "BELLWETHER_SNAPSHOT_EVERY", default_value = "2m", value_parser = duration, value_name = "DURATION")]
    pub snapshot_every: Duration,
    /// How far back ended operations count
    #[arg(long, env = "BELLWETHER_HEALTH_WINDOW", default_value = "15m", value_parser = duration, value_name = "DURATION")]
    pub health_window: Duration,
    /// After how long without a sign of life an operation is stalled
    #[arg(long, env = "BELLWETHER_STALLED_AFTER", default_value = "2m", value_parser = duration, value_name = "DURATION")]
    pub stalled_after: Duration,
    /// How often it is written down who is connected
    #[arg(long, env = "BELLWETHER_PRESENCE_EVERY", default_value = "3s", value_parser = duration, value_name = "DURATION")]
    pub presence_every: Duration,
    /// After how long without a sign of life another relay is dead
    #[arg(long, env = "BELLWETHER_RELAY_DEAD_AFTER", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub relay_dead_after: Duration,
    /// How long events are kept
    #[arg(long, env = "BELLWETHER_KEEP_EVENTS", default_value = "7d", value_parser = duration, value_name = "DURATION")]
    pub keep_events: Duration,
    /// Bytes of events that are kept at most, with their indexes: the oldest quarter of them gives way early
    #[arg(long, env = "BELLWETHER_KEEP_EVENTS_BYTES", default_value_t = SchedulerOptions::default().keep_events_bytes,
        value_parser = clap::value_parser!(u64).range(1_048_576..), value_name = "BYTES")]
    pub keep_events_bytes: u64,
    /// How long health snapshots are kept
    #[arg(long, env = "BELLWETHER_KEEP_SNAPSHOTS", default_value = "90d", value_parser = duration, value_name = "DURATION")]
    pub keep_snapshots: Duration,
    /// How long it is kept that a subscriber was connected
    #[arg(long, env = "BELLWETHER_KEEP_CONNECTIONS", default_value = "1h", value_parser = duration, value_name = "DURATION")]
    pub keep_connections: Duration,
    /// How long stopping may take before what is left is abandoned
    #[arg(long, env = "BELLWETHER_STOP_WITHIN", default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub stop_within: Duration,
}

impl RelayArgs {
    /// How the source looks.
    pub fn source(&self) -> SourceOptions {
        SourceOptions {
            tick: self.tick,
            // So that subscribers know within two heartbeats (or two seconds) that the database was lost.
            probe: self
                .probe
                .min((self.heartbeat * 3 / 4).max(SHORTEST_SILENCE)),
            silence: self.patience.min(self.heartbeat.max(SHORTEST_SILENCE)),
            patience: self.patience,
            poll: self.poll,
            mirror: MirrorLimits {
                recent: self.mirror_recent,
                rows: self.mirror_rows,
            },
            ..SourceOptions::default()
        }
    }

    /// When the jobs are done.
    pub fn scheduler(&self) -> SchedulerOptions {
        SchedulerOptions {
            snapshot_every: self.snapshot_every,
            health_window: self.health_window,
            stalled_after: self.stalled_after,
            presence_every: self.presence_every,
            relay_dead_after: self.relay_dead_after,
            keep_events: self.keep_events,
            keep_events_bytes: self.keep_events_bytes,
            keep_snapshots: self.keep_snapshots,
            keep_connections: self.keep_connections,
        }
    }

    /// The bounds of the hub's memory.
    pub fn hub(&self) -> HubLimits {
        HubLimits {
            ring_bytes: self.ring_bytes,
            subscriber_bytes: self.subscriber_bytes,
        }
    }
}

/// Reads the address of a relay.
fn relay_url(text: &str) -> Result<reqwest::Url, String> {
    tail::address::base(text).map_err(|error| error.to_string())
}

/// Reads `250ms`, `15m`, `7d`, `1h 30m`. Zero would make a loop spin.
fn duration(text: &str) -> Result<Duration, String> {
    let expected =
        || format!("expected a duration above zero such as 250ms, 15m or 7d, got \"{text}\"");
    let duration = humantime::parse_duration(text).map_err(|_| expected())?;
    if duration.is_zero() {
        Err(expected())
    } else {
        Ok(duration)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_defaults_of_the_command_line_are_those_of_the_parts() {
        let cli = Cli::try_parse_from(["bellwether", "serve", "--embedded"]).expect("valid");
        let Command::Serve(serve) = cli.command else {
            panic!("serve")
        };
        assert_eq!(
            format!("{:?}", serve.relay.source()),
            format!("{:?}", SourceOptions::default())
        );
        assert_eq!(
            format!("{:?}", serve.relay.scheduler()),
            format!("{:?}", SchedulerOptions::default())
        );
    }

    #[test]
    fn a_duration_that_is_none_is_refused_with_what_was_expected() {
        let error = Cli::try_parse_from(["bellwether", "serve", "--embedded", "--tick", "soon"])
            .expect_err("no duration");
        assert!(
            error.to_string().contains("expected a duration above zero"),
            "{error}"
        );
        assert!(duration("0s").is_err());
    }
}
