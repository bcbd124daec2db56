//! All tests that need more than one file of the crate: one binary, so that it is linked once.
//!
//! Each test has a database of its own on a real PostgreSQL; see [`support`].

mod api;
mod architecture;
mod compose;
mod connections;
mod doctor;
mod documents;
mod embedded;
mod example_curl;
mod example_tools;
mod examples;
mod faults;
mod lease;
mod lease_model;
mod migrate;
mod outages;
mod pool;
mod relay;
mod replay;
mod retention;
mod rows;
mod schema_derive;
mod schema_documentation;
mod schema_doorbell;
mod schema_events;
mod schema_functions;
mod schema_health;
mod schema_probe;
mod schema_rate;
mod schema_replication;
mod schema_roles;
mod schema_rules;
mod schema_rules_of_others;
mod schema_snapshot;
mod schema_stalled;
mod schema_statements;
mod schema_writers;
mod soak;
mod stalled;
mod storm;
mod support;
mod surface;
mod tail;
mod tls;
