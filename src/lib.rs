//! Bellwether: a Postgres-driven event relay. Applications write rows; live screens follow, and nothing is lost.
//!
//! The modules in the order in which an event passes them:
//!
//! 1. An application writes a row of `sync_operations`. Triggers (`sql/functions`) derive what can be derived, record the
//!    change in `bellwether.event`, and ring the doorbell, all in the application's own transaction. [`postgres`] brings
//!    a database to that schema, and can run one of our own.
//! 2. [`source`] hears the bell, looks, and reads what its [`cursor`] lacks: each row becomes an [`event`], encoded once.
//! 3. [`hub`] keeps the present state and the recent events in memory and hands each subscriber what it wants, without
//!    ever waiting for one.
//! 4. [`http`] carries it to WebSockets and event streams, brings subscribers that were away back without a gap, and
//!    answers the read API.
//!
//! Beside that path, [`scheduler`] does what goes by the clock: health snapshots, stalled operations, who is connected,
//! and what is too old. [`app`] wires the parts together and takes them apart in order; [`cli`] names every setting.
//!
//! [`demo`] is applications that do real work and report it, and [`tail`] a subscriber in a terminal; neither knows
//! anything of the relay but what everyone does. [`doctor`] checks all of it from outside.
//!
//! The arrows go one way, `app -> {http, scheduler, source} -> hub -> event`, and a test keeps it so.

pub mod app;
pub mod cli;
pub mod cursor;
pub mod event;
pub mod http;
pub mod hub;
pub mod postgres;
pub mod scheduler;
pub mod source;

pub mod demo;
pub mod doctor;
pub mod tail;

pub mod backoff;
pub mod shutdown;
pub mod telemetry;
