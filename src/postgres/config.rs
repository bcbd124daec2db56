//! Where the database is and how to get in: a connection string, parsed once.

use std::{
    fmt,
    path::PathBuf,
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio_postgres::{
    Config,
    config::{ChannelBinding, Host, SslMode, SslNegotiation, TargetSessionAttrs},
};

use super::{
    connection_string::{self, Settings},
    hosts::{DEFAULT_PORT, take_hosts},
    tls::{TlsConnector, TlsError, TlsMode, TlsSettings},
};

/// How long one host may take to let a session in, unless `connect_timeout` says otherwise.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long sent bytes may stay unacknowledged before the link counts as lost, unless `tcp_user_timeout` says otherwise.
pub const DEFAULT_TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a link may be silent before it is probed, unless `keepalives_idle` says otherwise.
pub const DEFAULT_KEEPALIVES_IDLE: Duration = Duration::from_secs(5);
/// The time between two such probes, unless `keepalives_interval` says otherwise.
pub const DEFAULT_KEEPALIVES_INTERVAL: Duration = Duration::from_secs(2);
/// How many unanswered probes mean that the link is lost, unless `keepalives_count` says otherwise.
pub const DEFAULT_KEEPALIVES_COUNT: u32 = 3;

/// A checked connection string. Cheap enough to clone; neither `Debug` nor `Display` shows the password.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// One for each host, in the order of the connection string: a host that hangs must not keep the next from its try.
    pub(super) hosts: Vec<Config>,
    /// Whether to try the hosts in random order (`load_balance_hosts=random`).
    pub(super) random_order: bool,
    /// What `sslmode` promises.
    pub(super) tls: TlsConnector,
    /// How long one host may take, from the first packet to a session that is set up.
    pub(super) connect_timeout: Duration,
    /// Set on every session, where the caller asked for it.
    pub(super) statement_timeout: Option<Duration>,
    /// Whether a pooler gives a session another server connection for each transaction, once somebody has looked;
    /// clones find out together.
    pub(super) is_pooled: Arc<Mutex<Option<bool>>>,
}

/// Why a connection string was refused. No message repeats a value, since it may be part of a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be split into settings.
    #[error("database connection string: expected {expected}")]
    Syntax {
        /// What should have stood there.
        expected: &'static str,
    },
    /// It names a setting that means nothing here.
    #[error("database connection string: unknown setting {name:?}")]
    Unknown {
        /// The name as given.
        name: String,
    },
    /// A setting has a value that it cannot have.
    #[error("database connection string: {name} must be {expected}")]
    Invalid {
        /// The setting's name.
        name: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// The certificates that it names cannot be used.
    #[error("database connection string: {0}")]
    Tls(#[from] TlsError),
}

impl DatabaseConfig {
    /// The same server and account, another database.
    pub fn with_database(mut self, name: &str) -> Self {
        for host in &mut self.hosts {
            host.dbname(name);
        }
        self
    }

    /// Lets every statement of the sessions made from it run no longer than this.
    pub fn with_statement_timeout(mut self, limit: Duration) -> Self {
        self.statement_timeout = Some(limit);
        self
    }

    /// The database's name, if the connection string has one; else the server takes the user's name.
    pub fn database(&self) -> Option<&str> {
        self.hosts.first().and_then(Config::get_dbname)
    }
}

impl FromStr for DatabaseConfig {
    type Err = ConfigError;

    /// Reads a libpq URL (`postgres://user:password@host:port/database?sslmode=verify-full`) or `name=value` pairs.
    ///
    /// The settings are libpq's, with libpq's units: `host`, `hostaddr` and `port` (lists), `user`, `password`,
    /// `dbname`, `options`, `sslmode`, `sslrootcert` (a file, or `system`), `sslcert`, `sslkey`, `sslnegotiation`,
    /// `channel_binding`, `target_session_attrs`, `load_balance_hosts`, `connect_timeout`, `tcp_user_timeout` and the
    /// `keepalives` family. Without a host it is the local socket folder if there is one, else `localhost`.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut settings = connection_string::parse(text)?;
        let tls = take_tls(&mut settings)?;
        let mut base = Config::new();
        base.ssl_mode(match tls.mode {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        });
        if tls.direct {
            base.ssl_negotiation(SslNegotiation::Direct);
        }
        take_session(&mut base, &mut settings)?;
        let connect_timeout = take_timeouts(&mut base, &mut settings)?;
        let random_order = settings.take_choice(
            "load_balance_hosts",
            "disable or random",
            &[("disable", false), ("random", true)],
        )?;
        let hosts = take_hosts(&base, &mut settings)?;
        for ignored in [
            "application_name",
            "fallback_application_name",
            "client_encoding",
            "gssencmode",
        ] {
            settings.take(ignored);
        }
        settings.expect_empty()?;
        Ok(Self {
            hosts,
            random_order: random_order.unwrap_or(false),
            tls: tls.connector()?,
            connect_timeout,
            statement_timeout: None,
            is_pooled: Arc::default(),
        })
    }
}

impl fmt::Display for DatabaseConfig {
    /// The target as a URL without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.hosts.first().and_then(Config::get_user) {
            write!(f, "{user}@")?;
        }
        for (index, host) in self.hosts.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let port = host.get_ports().first().unwrap_or(&DEFAULT_PORT);
            match host.get_hosts().first() {
                Some(Host::Tcp(name)) if name.contains(':') => {
                    write!(f, "{separator}[{name}]:{port}")?
                }
                Some(Host::Tcp(name)) => write!(f, "{separator}{name}:{port}")?,
                Some(Host::Unix(path)) => write!(f, "{separator}{}:{port}", path.display())?,
                None => write!(f, "{separator}:{port}")?,
            }
        }
        write!(f, "/{}", self.database().unwrap_or_default())
    }
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseConfig({self})")
    }
}

fn take_tls(settings: &mut Settings) -> Result<TlsSettings, ConfigError> {
    let mode = settings.take_choice(
        "sslmode",
        "disable, allow, prefer, require, verify-ca or verify-full",
        &[
            ("disable", TlsMode::Disable),
            ("allow", TlsMode::Prefer),
            ("prefer", TlsMode::Prefer),
            ("require", TlsMode::Require),
            ("verify-ca", TlsMode::VerifyCa),
            ("verify-full", TlsMode::VerifyFull),
        ],
    )?;
    let direct = settings.take_choice(
        "sslnegotiation",
        "postgres or direct",
        &[("postgres", false), ("direct", true)],
    )?;
    let tls = TlsSettings {
        mode: mode.unwrap_or(TlsMode::Prefer),
        direct: direct.unwrap_or(false),
        root_certificates: settings.take("sslrootcert").map(PathBuf::from),
        client_certificate: settings.take("sslcert").map(PathBuf::from),
        client_key: settings.take("sslkey").map(PathBuf::from),
    };
    if tls.direct && matches!(tls.mode, TlsMode::Disable | TlsMode::Prefer) {
        return Err(ConfigError::Invalid {
            name: "sslmode",
            expected: "require, verify-ca or verify-full where sslnegotiation is direct",
        });
    }
    Ok(tls)
}

fn take_session(base: &mut Config, settings: &mut Settings) -> Result<(), ConfigError> {
    if let Some(user) = settings.take("user") {
        base.user(user);
    }
    if let Some(password) = settings.take("password") {
        base.password(password);
    }
    if let Some(name) = settings.take("dbname") {
        base.dbname(name);
    }
    if let Some(options) = settings.take("options") {
        base.options(options);
    }
    let binding = settings.take_choice(
        "channel_binding",
        "disable, prefer or require",
        &[
            ("disable", ChannelBinding::Disable),
            ("prefer", ChannelBinding::Prefer),
            ("require", ChannelBinding::Require),
        ],
    )?;
    base.channel_binding(binding.unwrap_or(ChannelBinding::Prefer));
    let target = settings.take_choice(
        "target_session_attrs",
        "any, read-write, primary, read-only or standby",
        &[
            ("any", TargetSessionAttrs::Any),
            ("read-write", TargetSessionAttrs::ReadWrite),
            ("primary", TargetSessionAttrs::ReadWrite),
            ("read-only", TargetSessionAttrs::ReadOnly),
            ("standby", TargetSessionAttrs::ReadOnly),
        ],
    )?;
    base.target_session_attrs(target.unwrap_or(TargetSessionAttrs::Any));
    Ok(())
}

/// Sets what notices a dead link, and returns how long one host may take.
fn take_timeouts(base: &mut Config, settings: &mut Settings) -> Result<Duration, ConfigError> {
    let mut number = |name, expected| settings.take_parsed::<u32>(name, expected);
    let seconds = "a whole number of seconds";
    let connect = number("connect_timeout", seconds)?;
    let idle = number("keepalives_idle", seconds)?;
    let interval = number("keepalives_interval", seconds)?;
    let probes = number("keepalives_count", "a whole number of probes")?;
    let unacknowledged = number("tcp_user_timeout", "a whole number of milliseconds")?;
    let keepalives = settings.take_choice("keepalives", "0 or 1", &[("0", false), ("1", true)])?;

    let or_default = |given: Option<u32>, default: Duration| match given {
        Some(0) | None => default,
        Some(given) => Duration::from_secs(given.into()),
    };
    let connect = or_default(connect, DEFAULT_CONNECT_TIMEOUT);
    base.connect_timeout(connect)
        .keepalives(keepalives.unwrap_or(true))
        .keepalives_idle(or_default(idle, DEFAULT_KEEPALIVES_IDLE))
        .keepalives_interval(or_default(interval, DEFAULT_KEEPALIVES_INTERVAL))
        .keepalives_retries(probes.unwrap_or(DEFAULT_KEEPALIVES_COUNT));
    match unacknowledged {
        Some(0) => {}
        Some(limit) => drop(base.tcp_user_timeout(Duration::from_millis(limit.into()))),
        None => drop(base.tcp_user_timeout(DEFAULT_TCP_USER_TIMEOUT)),
    }
    Ok(connect)
}

#[cfg(test)]
mod tests;
