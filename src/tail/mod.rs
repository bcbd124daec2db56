//! `bellwether tail`: follows a relay from a terminal, or pipes its events.
//!
//! In reading order:
//!
//! 1. `options`, `address`: what is asked for, as an address.
//! 2. `connect`, `session`: one connection; `frame`: what comes over it.
//! 3. `state`: what each frame changes and which `effect`s it has, with `rows`, `revisions`, `contact` and
//!    `awaited`. Pure.
//! 4. `line`, `json`, `text`: how that reads. Pure.
//! 5. `output`, `screen`: where it goes.
//!
//! Around the sessions is the loop of [`run`]: connect, follow, wait, and resume where the last session ended.

pub(crate) mod address;
mod awaited;
mod connect;
mod contact;
mod effect;
mod frame;
mod json;
mod line;
mod lookup;
mod options;
mod output;
mod revisions;
mod rows;
mod screen;
mod session;
mod state;
pub(crate) mod text;

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::time::{interval, sleep_until};
use tokio_util::sync::CancellationToken;

pub use self::options::{DEFAULT_URL, Mode, TailOptions};

use self::{
    address::Address,
    connect::Loss,
    contact::Now,
    frame::ReconnectHints,
    options::{check, ids},
    output::Output,
    session::{End, follow},
    state::State,
};
use crate::backoff::Backoff;

/// The wait before the first new try, until the relay says how it wants it.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// No wait between two tries is longer, until the relay says how it wants it.
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// Whatever a relay asks for, it is tried again after this.
const LONGEST_WANTED_DELAY: Duration = Duration::from_secs(300);
/// Whatever a relay asks for, waits do not begin shorter.
const SHORTEST_WANTED_DELAY: Duration = Duration::from_millis(100);
/// How often the screen is brought up to date while there is no connection.
const DRAW_INTERVAL: Duration = Duration::from_millis(500);

/// Why there is nothing to follow, or not what was hoped for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TailError {
    /// The address can not be one of a relay.
    #[error("url {url}: expected {expected}")]
    Url {
        /// As given.
        url: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// Options that make no sense, or not together.
    #[error("{option}: expected {expected}")]
    Option {
        /// Which.
        option: &'static str,
        /// What it should have been.
        expected: &'static str,
    },
    /// Whoever answers at the address does not want us, or is no relay.
    #[error(
        "the server at this address answered {status} instead of opening a WebSocket: {answer}"
    )]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The beginning of what it said.
        answer: String,
    },
    /// The relay ended the connection for a reason that another try would meet too.
    #[error("the relay refused: {reason} ({code})")]
    Closed {
        /// The WebSocket close code.
        code: u16,
        /// What the relay said.
        reason: String,
    },
    /// The relay speaks another version of the protocol.
    #[error("the relay speaks version {theirs} of the protocol, this program version {ours}")]
    Protocol {
        /// The relay's.
        theirs: u32,
        /// This program's.
        ours: u32,
    },
    /// What was waited for has ended, but not well.
    #[error(
        "not all operations completed: {failed} failed, {cancelled} were cancelled, {deleted} were deleted"
    )]
    NotCompleted {
        /// How many failed.
        failed: usize,
        /// How many were cancelled.
        cancelled: usize,
        /// How many are gone.
        deleted: usize,
    },
    /// Standard output can not be written to.
    #[error("can not write to standard output")]
    Output(#[from] io::Error),
}

/// Follows the relay until told to stop, until nobody reads any more, or until what was waited for has happened.
///
/// A relay that can not be reached is tried again for as long as it takes, and resumed from where it was left.
///
/// # Errors
/// At once where an option makes no sense or the relay refuses; at the end, with `until_done`, where an operation did
/// not complete.
pub async fn run(options: TailOptions, stop: CancellationToken) -> Result<(), TailError> {
    check(&options)?;
    let address = Address::new(&options)?;
    let awaited = options
        .until_done
        .then(|| ids(&options.operation_id))
        .transpose()?;
    let mut state = State::new(options.since.clone(), options.once, awaited);
    let rows = options.once || options.snapshot == Some(true);
    let mut output = Output::choose(options.json, rows, stop.clone());
    let tail = Tail {
        address,
        snapshot: options.snapshot.unwrap_or(!options.json) || options.once || options.until_done,
        stop,
    };
    let result = tail.follow_on(&mut state, &mut output).await;
    let closed = output.close(&state, options.once && result.is_ok()).await;
    match result.and(closed.map_err(TailError::Output)) {
        Err(TailError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error),
        Ok(()) => verdict(&state),
    }
}

fn verdict(state: &State) -> Result<(), TailError> {
    match &state.awaited {
        Some(awaited) if !awaited.went_well() => Err(TailError::NotCompleted {
            failed: awaited.failed,
            cancelled: awaited.cancelled,
            deleted: awaited.deleted,
        }),
        _ => Ok(()),
    }
}

struct Tail {
    address: Address,
    /// Whether to begin with the present state where there is no cursor.
    snapshot: bool,
    stop: CancellationToken,
}

impl Tail {
    /// Session after session.
    async fn follow_on(&self, state: &mut State, output: &mut Output) -> Result<(), TailError> {
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        let mut hints = None;
        let mut told = None;
        loop {
            let loss = match follow(&self.address, self.snapshot, state, output, &self.stop).await?
            {
                End::Stopped | End::Finished => return Ok(()),
                End::Lost(loss) => loss,
            };
            if let Some(wanted) = loss
                .hints
                .filter(|wanted| hints.replace(*wanted) != Some(*wanted))
            {
                backoff = wanted_backoff(wanted);
            }
            if loss.had_worked {
                backoff.reset();
                told = None;
            }
            if told.as_ref() != Some(&loss.reason) {
                let relay = self.address.relay();
                output.note(format!(
                    "no connection to {relay}: {}; trying until there is one",
                    loss.reason
                ))?;
                told = Some(loss.reason.clone());
            }
            let retry_at = Instant::now() + delay(&mut backoff, &loss);
            state
                .contact
                .disconnected(Now::read(), loss.reason, retry_at);
            if !self.wait(retry_at, state, output).await {
                return Ok(());
            }
        }
    }

    /// Waits, with the screen kept up to date; false where we were told to stop.
    async fn wait(&self, until: Instant, state: &State, output: &mut Output) -> bool {
        let mut draw = interval(DRAW_INTERVAL);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return false,
                () = sleep_until(until.into()) => return true,
                _ = draw.tick() => output.draw(state),
            }
        }
    }
}

fn wanted_backoff(wanted: ReconnectHints) -> Backoff {
    let within = |milliseconds| {
        Duration::from_millis(milliseconds).clamp(SHORTEST_WANTED_DELAY, LONGEST_WANTED_DELAY)
    };
    Backoff::new(within(wanted.min_ms), within(wanted.max_ms))
}

/// At random up to a bound that grows, but not before the relay wants to be tried.
fn delay(backoff: &mut Backoff, loss: &Loss) -> Duration {
    let wanted = loss
        .retry_after
        .unwrap_or_default()
        .min(LONGEST_WANTED_DELAY);
    backoff.next_delay().max(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relay_is_not_tried_before_it_wants_to_be_and_never_put_off_for_ever() {
        let after = |milliseconds| Loss {
            retry_after: Some(Duration::from_millis(milliseconds)),
            ..Loss::default()
        };
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        assert!(delay(&mut backoff, &after(1200)) >= Duration::from_millis(1200));
        assert_eq!(delay(&mut backoff, &after(u64::MAX)), LONGEST_WANTED_DELAY);
    }

    #[test]
    fn a_relays_wishes_for_waits_are_kept_within_bounds() {
        let wanted = ReconnectHints {
            min_ms: 0,
            max_ms: u64::MAX,
        };
        let mut backoff = wanted_backoff(wanted);
        let longest = (0..40).map(|_| backoff.next_delay()).max();
        assert!(longest.is_some_and(|longest| longest <= LONGEST_WANTED_DELAY));
    }
}
