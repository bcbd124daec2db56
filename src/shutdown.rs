//! One signal to stop, from wherever it comes.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels the token with the first SIGINT or SIGTERM; a second one ends the process at once.
///
/// # Errors
/// Where the process may not listen for signals.
pub fn on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        for attempt in 0.. {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            if attempt > 0 {
                tracing::error!(signal = name, "stopped at once, by a second signal");
                std::process::exit(130);
            }
            tracing::info!(signal = name, "stopping");
            stop.cancel();
        }
    });
    Ok(())
}
