//! Everything that can break, broken on purpose while writers write and subscribers watch.
//!
//! A [`scene`] is real writers, a real server, real relay processes and subscribers that behave as the protocol asks
//! ([`recorder`]). When the fault is over, what each subscriber was told is compared with the log and the tables
//! ([`comparison`]): nothing missing, nothing twice, nothing that never was, every row in order, every screen right.

mod bell;
mod comparison;
mod proxy;
mod recorder;
mod relay_process;
mod scene;
mod writers;

mod cursors;
mod doorbell;
mod failover;
mod network;
mod pooler;
mod relays;
mod rights;
mod server;
mod slow;
mod space;
