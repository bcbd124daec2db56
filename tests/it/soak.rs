//! The soak: every commit order that random writers can make, and every way of listening, compared with the log.
//!
//! A seed decides what each writer and each subscriber does next, whatever the others do; how they interleave is up to
//! the machine. `SOAK_SEED` replays a seed, `SOAK_SECONDS` says how long the writers write (`make soak`: ten minutes).

mod bell;
mod log;
mod subscribers;
mod verdict;
mod writers;

use std::env;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;

use self::log::Log;
use self::subscribers::{Finish, Subscription};
use crate::support::relay::Relay;
use crate::support::{PrivateServer, server_options};

/// How long the writers write in `make test`.
const SECONDS: u64 = 8;
const WRITERS: u64 = 8;

fn from_environment<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(_) => panic!("{name}: expected a number, got {text:?}"),
    }
}

/// Each actor has choices of its own.
fn choices(seed: u64, actor: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(actor))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_committed_in_whatever_order_reaches_each_subscriber_exactly_once() {
    let seed = from_environment("SOAK_SEED").unwrap_or_else(rand::random);
    let seconds = from_environment("SOAK_SECONDS").unwrap_or(SECONDS);
    println!("SOAK_SEED={seed} SOAK_SECONDS={seconds}");
    let server =
        PrivateServer::migrated_with(server_options().setting("deadlock_timeout", "20ms")).await;
    let client = server.client().await;
    writers::prepare(&client).await;
    // They do not look in step: one goes by the bell alone, the other one also by a clock of its own. Memory is short, so
    // that resumes come from the ring, from the log and from snapshots, and slow subscribers lose their backlogs.
    let usual = [
        "--heartbeat",
        "2s",
        "--snapshot-every",
        "1d",
        "--presence-every",
        "1h",
        "--stalled-after",
        "1d",
        "--mirror-recent",
        "1000000",
        "--mirror-rows",
        "2000000",
        "--ring-bytes",
        "150000",
        "--subscriber-bytes",
        "80000",
    ];
    let with_tick = |tick| [&["--tick", tick], &usual[..]].concat();
    let relays = [
        Relay::start(&server.url(), &with_tick("1h")).await,
        Relay::start(&server.url(), &with_tick("137ms")).await,
    ];
    let addresses = relays.each_ref().map(|relay| relay.address);
    let finish = Finish::default();
    let subscribers: Vec<_> = (0..)
        .zip(Subscription::all())
        .map(|(number, subscription)| {
            let choices = choices(seed, 1_000 + number);
            tokio::spawn(subscribers::follow(
                subscription,
                addresses,
                choices,
                finish.clone(),
            ))
        })
        .collect();

    let until = Instant::now() + Duration::from_secs(seconds);
    let held = writers::hold_a_transaction(&server).await;
    let writing: Vec<_> = (0..WRITERS)
        .map(|number| {
            let choices = choices(seed, number);
            let url = server.url();
            tokio::spawn(async move { writers::write(&url, number, choices, until).await })
        })
        .collect();
    let mut done = 0;
    for writer in writing {
        done += writer.await.expect("a writer that did not panic");
    }
    held.batch_execute("COMMIT").await.expect("committed");
    // A transaction that writes no event and rings for nobody: the relay that goes by the bell alone need not learn of it.
    held.batch_execute("SELECT pg_current_xact_id()")
        .await
        .expect("a transaction");

    let log = Arc::new(Log::read(&client).await);
    finish.tell(log.clone());
    println!("{done} transactions, {} events", log.events.len());
    let mut wrong = Vec::new();
    for subscriber in subscribers {
        let followed = subscriber.await.expect("a subscriber that did not panic");
        println!("{followed}");
        wrong.extend(verdict::wrong(&followed, &log));
    }
    assert!(wrong.is_empty(), "SOAK_SEED={seed}:\n{}", wrong.join("\n"));
    assert!(log.events.len() > 100, "the writers wrote");
}
