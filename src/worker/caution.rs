//! When a worker takes one request at a time: pure, so that it can be tested.

use std::time::Duration;

/// So many sessions in a row that the broker soon ended over something that it sent or was sent:
/// perhaps it can't even deliver a request. Each loss counts against all that it had handed over,
/// so the next session asks for one request at a time: the culprit then counts alone, and the
/// broker gives it up alone.
const LOSSES_MAX: u32 = 2;

/// A session that lasts so long has no culprit before it.
pub(super) const CALM: Duration = Duration::from_secs(10);

/// So many losses are answered by connecting again at once. It is the queue's delivery limit, and
/// some more: by then the broker has given the request up.
const HASTY_MAX: u32 = 120;

/// What is known of the sessions before.
#[derive(Debug, Default)]
pub(super) struct Caution {
    losses: u32,
}

impl Caution {
    /// Whether the next session should take one request at a time.
    pub(super) fn is_due(&self) -> bool {
        self.losses >= LOSSES_MAX
    }

    /// Whether the next session should begin without a wait: nobody else is answered meanwhile.
    pub(super) fn is_hasty(&self) -> bool {
        (1..HASTY_MAX).contains(&self.losses)
    }

    /// A session was lost, after so long. A server that is away, a network that is cut and an
    /// operator who closes connections accuse no request. What was settled meanwhile acquits none:
    /// the broker may hand over others before it notices that the culprit is back, and with it
    /// come, each time, the same neighbours.
    pub(super) fn lost(&mut self, accuses: bool, after: Duration) {
        if accuses {
            self.losses = if after < CALM { self.losses + 1 } else { 1 };
        }
    }

    /// Nothing was lost for a while.
    pub(super) fn is_over(&mut self) {
        self.losses = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(700);

    #[test]
    fn two_sessions_that_the_broker_soon_ended_make_cautious() {
        let mut caution = Caution::default();
        caution.lost(true, SOON);
        assert!(!caution.is_due() && caution.is_hasty());
        caution.lost(true, SOON);
        assert!(caution.is_due());
        caution.lost(true, SOON);
        assert!(caution.is_due() && caution.is_hasty());
        caution.is_over();
        assert!(!caution.is_due() && !caution.is_hasty());
    }

    #[test]
    fn losses_now_and_then_make_nobody_cautious() {
        let mut caution = Caution::default();
        (0..10).for_each(|_| caution.lost(true, CALM));
        assert!(!caution.is_due());
        caution.lost(true, SOON);
        assert!(caution.is_due(), "the last one was the first of two");
    }

    #[test]
    fn a_server_that_is_away_makes_nobody_cautious() {
        let mut caution = Caution::default();
        (0..10).for_each(|_| caution.lost(false, SOON));
        assert!(!caution.is_due() && !caution.is_hasty());
    }

    #[test]
    fn haste_ends() {
        let mut caution = Caution::default();
        (0..HASTY_MAX).for_each(|_| caution.lost(true, SOON));
        assert!(!caution.is_hasty());
    }
}
