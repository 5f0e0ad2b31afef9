//! When a worker takes one request at a time: pure, so that it can be tested.

/// So many sessions in a row that the broker ended over something that it sent or was sent, before
/// anything was settled: perhaps it can't even deliver a request. Each loss counts against all that
/// it had handed over, so the next session asks for one request at a time: the culprit then counts
/// alone, and the broker gives it up alone.
const FRUITLESS_MAX: u32 = 2;

/// So many losses are answered by connecting again at once. It is the queue's delivery limit, and
/// some more: by then the broker has given the request up.
const HASTY_MAX: u32 = 120;

/// What is known of the sessions before.
#[derive(Debug, Default)]
pub(super) struct Caution {
    fruitless: u32,
}

impl Caution {
    /// Whether the next session should take one request at a time.
    pub(super) fn is_due(&self) -> bool {
        self.fruitless >= FRUITLESS_MAX
    }

    /// Whether the next session should begin without a wait: nobody else is answered meanwhile.
    pub(super) fn is_hasty(&self) -> bool {
        (1..HASTY_MAX).contains(&self.fruitless)
    }

    /// A session was lost. A server that is away, a network that is cut and an operator who closes
    /// connections accuse no request; nor does a loss after which others got through.
    pub(super) fn lost(&mut self, accuses: bool, has_settled: bool, was_cautious: bool) {
        if !accuses {
            return;
        }
        self.fruitless = if has_settled && !was_cautious {
            0
        } else {
            self.fruitless + 1
        };
    }

    /// Nothing was lost for a while.
    pub(super) fn is_over(&mut self) {
        self.fruitless = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sessions_that_the_broker_ended_before_anything_was_settled_make_cautious() {
        let mut caution = Caution::default();
        caution.lost(true, false, false);
        assert!(!caution.is_due() && caution.is_hasty());
        caution.lost(true, false, false);
        assert!(caution.is_due());
        // While one at a time is taken the others get through between two losses.
        caution.lost(true, true, true);
        assert!(caution.is_due() && caution.is_hasty());
        caution.is_over();
        assert!(!caution.is_due() && !caution.is_hasty());
    }

    #[test]
    fn a_server_that_is_away_makes_nobody_cautious() {
        let mut caution = Caution::default();
        (0..10).for_each(|_| caution.lost(false, false, false));
        assert!(!caution.is_due());
        caution.lost(true, false, false);
        caution.lost(true, true, false);
        assert!(!caution.is_due(), "something was settled");
    }

    #[test]
    fn haste_ends() {
        let mut caution = Caution::default();
        (0..HASTY_MAX).for_each(|_| caution.lost(true, false, true));
        assert!(!caution.is_hasty());
    }
}
