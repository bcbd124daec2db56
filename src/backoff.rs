//! How long to wait before trying again.

use std::time::Duration;

/// Waits that double from a first one to a greatest one, each drawn at random from zero up to its bound ("full
/// jitter"), so that those who failed together do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    greatest: Duration,
    failures: u32,
}

impl Backoff {
    /// No failure yet.
    pub fn new(first: Duration, greatest: Duration) -> Self {
        Self {
            first,
            greatest,
            failures: 0,
        }
    }

    /// Counts a failure and says how long to wait.
    pub fn next_delay(&mut self) -> Duration {
        let bound = self
            .first
            .saturating_mul(1 << self.failures.min(20))
            .min(self.greatest);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(rand::random::<f64>())
    }

    /// Forgets the failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the start or the last reset.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_start_small_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        for _ in 0..100 {
            assert!(backoff.next_delay() <= Duration::from_secs(5));
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
        assert_eq!(backoff.failures(), 1);
    }
}
