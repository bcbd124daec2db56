//! `bellwether doctor`: checks the whole path from a write to a screen, and says what is wrong and what to do.
//!
//! In reading order:
//!
//! 1. `report`: what a check finds, and all of it together; `render`: how that reads for people.
//! 2. `session`: a session of the database that can change nothing; `hearing`: one that listens; `socket`: a
//!    WebSocket to the relay.
//! 3. `expected`: what the schema has to look like, read from `sql/schema.sql`.
//! 4. `checks`: one question a file.
//! 5. `plan`: which questions are asked, in which order, and which are pointless after an answer.
//!
//! Nothing is written unless `--write` is given; then one operation is inserted and deleted again. The doorbell is rung
//! with a word that running relays know to be none of their business. Every check has a bound in time, and one that
//! cannot be carried out says so and does not keep the others from it.

mod checks;
mod expected;
mod hearing;
mod plan;
mod render;
mod report;
mod session;
mod socket;

use std::time::Duration;

use reqwest::Url;

pub use self::plan::examine;
pub use self::render::text;
pub use self::report::{Checked, Counts, Report, Status};
use crate::postgres::config::DatabaseConfig;

/// What is to be examined, and what counts as too much.
#[derive(Clone, Debug)]
pub struct DoctorOptions {
    /// The database, as the relay connects to it.
    pub database: DatabaseConfig,
    /// The relay, where it is to be examined too.
    pub relay: Option<Url>,
    /// Whether to write an operation and see that it comes out of the relay.
    pub write: bool,
    /// A role that applications write as, where its rights are to be examined.
    pub writer: Option<String>,
    /// How long one check may take.
    pub limit: Duration,
    /// How old a writing transaction may be.
    pub long_transaction: Duration,
    /// How long the relays keep events.
    pub keep_events: Duration,
    /// How many bytes of them.
    pub keep_events_bytes: u64,
    /// How many sessions a relay's pool may have.
    pub pool_size: u16,
    /// After how long without a sign of life a relay is dead.
    pub relay_dead_after: Duration,
}
