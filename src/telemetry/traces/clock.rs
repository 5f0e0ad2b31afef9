//! The moments of this process as the rest of the world counts them.

use std::time::SystemTime;

use tokio::time::Instant;

/// One moment by both clocks, by which others are told.
#[derive(Debug)]
pub(super) struct Clock {
    /// The moment, by the system's clock.
    pub(super) system: SystemTime,
    instant: Instant,
}

impl Clock {
    /// Looks at both clocks.
    pub(super) fn now() -> Self {
        Self {
            system: SystemTime::now(),
            instant: Instant::now(),
        }
    }

    /// Tells the system's time of a moment in the past.
    pub(super) fn at(&self, moment: Instant) -> SystemTime {
        self.system - self.instant.saturating_duration_since(moment)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_in_the_past_keeps_its_distance() {
        let clock = Clock::now();
        let earlier = clock.instant - Duration::from_millis(250);
        assert_eq!(clock.at(earlier), clock.system - Duration::from_millis(250));
        let later = clock.instant + Duration::from_secs(1);
        assert_eq!(clock.at(later), clock.system);
    }
}
