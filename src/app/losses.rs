//! Says in the log that subscribers were too slow. Each of them is told on its own socket; whoever runs the relay reads it
//! here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::hub::{Hub, Losses};

/// How often it is said at most.
const EVERY: Duration = Duration::from_secs(5);

/// Reports what was given up since the last time, until the token is cancelled.
pub(super) async fn report(hub: Hub, stop: CancellationToken) {
    let mut said = Counts::default();
    let mut tick = interval(EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let counts = Counts::of(hub.losses());
        let since = counts.since(said);
        if since.resets + since.closed > 0 {
            tracing::warn!(
                resets = since.resets,
                closed = since.closed,
                conflated = since.conflated,
                "subscribers fell too far behind; they were told, and come back with a snapshot or their last cursor"
            );
        }
        said = counts;
    }
}

/// See [`Losses`].
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    conflated: u64,
    resets: u64,
    closed: u64,
}

impl Counts {
    fn of(losses: &Losses) -> Self {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Self {
            conflated: read(&losses.conflated),
            resets: read(&losses.resets),
            closed: read(&losses.overflows),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            conflated: self.conflated - before.conflated,
            resets: self.resets - before.resets,
            closed: self.closed - before.closed,
        }
    }
}
