//! What a batch of messages says, in numbers: counted in the metrics once the broker has confirmed
//! all of them.

use crate::domain::outcome::{Code, DeadLetterReason};
use crate::telemetry::labels::Way;
use crate::telemetry::metrics::Metrics;

/// Of one batch.
#[derive(Debug, Default)]
pub(super) struct Tally {
    codes: [u64; Code::ALL.len()],
    dead_letters: [u64; DeadLetterReason::ALL.len()],
    /// Replies to where the producers want them.
    to_requesters: u64,
    /// Replies to the result queue.
    to_result_queue: u64,
    /// Replies that came back from where the producers wanted them.
    returned: u64,
    events: u64,
}

impl Tally {
    /// A reply with this code.
    pub(super) fn reply(&mut self, code: Code, has_requester: bool) {
        self.codes[code as usize] += 1;
        if has_requester {
            self.to_requesters += 1;
        } else {
            self.to_result_queue += 1;
        }
    }

    /// So many of the replies came back, and are on their way to the result queue now.
    pub(super) fn returned(&mut self, replies: u64) {
        self.to_requesters = self.to_requesters.saturating_sub(replies);
        self.returned += replies;
    }

    /// So many events.
    pub(super) fn events(&mut self, events: usize) {
        self.events += events as u64;
    }

    /// A dead letter.
    pub(super) fn dead_letter(&mut self, reason: DeadLetterReason) {
        self.dead_letters[reason as usize] += 1;
    }

    /// All of it is confirmed.
    pub(super) fn count(&self, metrics: &Metrics) {
        for (code, &count) in Code::ALL.into_iter().zip(&self.codes).filter(|(_, count)| **count > 0) {
            metrics.decisions.of(code).inc_by(count);
        }
        for (reason, &count) in DeadLetterReason::ALL.into_iter().zip(&self.dead_letters) {
            metrics.dead_letters.of(reason).inc_by(count);
        }
        metrics.replies.of(Way::ReplyTo).inc_by(self.to_requesters);
        metrics.replies.of(Way::ResultQueue).inc_by(self.to_result_queue);
        metrics.replies.of(Way::Returned).inc_by(self.returned);
        metrics.events.inc_by(self.events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_own_place() {
        assert!(Code::ALL.iter().enumerate().all(|(place, code)| *code as usize == place));
        assert!(DeadLetterReason::ALL.iter().enumerate().all(|(place, reason)| *reason as usize == place));
    }

    #[test]
    fn a_returned_reply_went_one_way() {
        let metrics = Metrics::default();
        let mut tally = Tally::default();
        tally.reply(Code::Added, true);
        tally.reply(Code::EmailTaken, true);
        tally.reply(Code::Added, false);
        tally.returned(1);
        tally.count(&metrics);
        let ways = [Way::ReplyTo, Way::ResultQueue, Way::Returned].map(|way| metrics.replies.of(way).get());
        assert_eq!(ways, [1, 1, 1]);
        assert_eq!((metrics.decisions.of(Code::Added).get(), metrics.decisions.of(Code::EmailTaken).get()), (2, 1));
    }
}
