//! Everything that is about PostgreSQL as a server, and nothing about events.
//!
//! In reading order:
//!
//! 1. [`config`]: a connection string, parsed once and checked at the door.
//! 2. [`tls`]: what `sslmode` promises, on top of rustls.
//! 3. [`pool`]: one connection, or a pool of them, each set up the same way; `pooler` notices one that is not ours alone.
//! 4. [`schema`] and [`mod@migrate`]: the SQL files this binary carries, and how they get into a database.
//! 5. [`embedded`]: a PostgreSQL server run as a child process, for newcomers and for tests.

pub mod config;
mod connection_string;
pub mod embedded;
mod hosts;
pub mod migrate;
pub mod pool;
mod pooler;
pub(crate) mod read;
pub(crate) mod reason;
pub mod schema;
pub mod tls;
pub mod writer;

pub use config::{ConfigError, DatabaseConfig};
pub use embedded::{EmbeddedError, EmbeddedOptions, EmbeddedPostgres};
pub use migrate::{MigrateError, MigrationReport, check, migrate};
pub use pool::{ConnectError, PgConnection};
