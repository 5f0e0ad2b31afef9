//! Waiting between attempts: longer each time up to a limit, with jitter, for ever.
//!
//! The one place that names the `backoff` crate. The owner chose it; it is unmaintained, so it is
//! used for nothing but its sequence of delays, and can be replaced here.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// The first wait. Half of it to one and a half times it, as every wait is spread that much, so
/// that many workers that lost one server do not come back at one moment.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait, which bounds how late a server that is back is noticed. A hundred workers
/// ask it two hundred times a second at most then.
const LONGEST: Duration = Duration::from_millis(700);

const SPREAD: f64 = 0.4;

/// The delays between attempts.
#[derive(Debug)]
pub(crate) struct Backoff(ExponentialBackoff);

impl Backoff {
    /// A backoff that begins with the shortest delay.
    pub(crate) fn new() -> Self {
        Self(
            ExponentialBackoffBuilder::new()
                .with_initial_interval(FIRST)
                .with_max_interval(LONGEST)
                .with_multiplier(1.6)
                .with_randomization_factor(SPREAD)
                // The crate's own default gives up after 15 minutes.
                .with_max_elapsed_time(None)
                .build(),
        )
    }

    /// Waits before the next attempt.
    pub(crate) async fn wait(&mut self) {
        let delay = self.0.next_backoff().unwrap_or(LONGEST);
        tokio::time::sleep(delay).await;
    }

    /// An attempt succeeded: the next wait is a short one again.
    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit_and_never_end() {
        let mut delays = Backoff::new();
        let waits: Vec<_> = (0..1000)
            .map(|_| delays.0.next_backoff().unwrap())
            .collect();
        assert!(waits[0] < FIRST.mul_f64(1.5));
        assert!(
            waits
                .iter()
                .all(|wait| *wait <= LONGEST.mul_f64(1.0 + SPREAD))
        );
        let spread: std::collections::HashSet<_> = waits[100..].iter().collect();
        assert!(spread.len() > 100, "no jitter");
        delays.reset();
        assert!(delays.0.next_backoff().unwrap() < FIRST.mul_f64(1.5));
    }
}
