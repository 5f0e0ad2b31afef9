//! What a batch of messages says, in numbers: counted in the metrics once the broker has confirmed
//! all of them.

use super::compose::Content;
use crate::domain::outcome::{Code, DeadLetterReason};
use crate::telemetry::labels::{Label, ReplyRoute};
use crate::telemetry::metrics::Metrics;

/// Counters of one batch that is not published yet.
#[derive(Debug, Default)]
pub(super) struct Counts {
    codes: [u64; Code::ALL.len()],
    dead_letters: [u64; DeadLetterReason::ALL.len()],
    replies: [u64; ReplyRoute::ALL.len()],
    events: u64,
}

impl Counts {
    /// The broker has confirmed a message that says this.
    pub(super) fn confirmed(&mut self, content: Content) {
        match content {
            Content::Reply(code, way) => {
                self.codes[code as usize] += 1;
                self.replies[way as usize] += 1;
            }
            Content::Event => self.events += 1,
            Content::DeadLetter(reason) => self.dead_letters[reason as usize] += 1,
        }
    }

    /// All of it is confirmed.
    pub(super) fn count(&self, metrics: &Metrics) {
        for (code, &count) in Code::ALL
            .into_iter()
            .zip(&self.codes)
            .filter(|(_, count)| **count > 0)
        {
            metrics.decisions.of(code).inc_by(count);
        }
        for (reason, &count) in DeadLetterReason::ALL.into_iter().zip(&self.dead_letters) {
            metrics.dead_letters.of(reason).inc_by(count);
        }
        for (way, &count) in ReplyRoute::ALL
            .iter()
            .zip(&self.replies)
            .filter(|(_, count)| **count > 0)
        {
            metrics.replies.of(*way).inc_by(count);
        }
        metrics.events.inc_by(self.events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_own_place() {
        assert!(
            Code::ALL
                .iter()
                .enumerate()
                .all(|(index, code)| *code as usize == index)
        );
        assert!(
            DeadLetterReason::ALL
                .iter()
                .enumerate()
                .all(|(index, reason)| *reason as usize == index)
        );
        assert!(
            ReplyRoute::ALL
                .iter()
                .enumerate()
                .all(|(index, way)| *way as usize == index)
        );
    }

    #[test]
    fn a_returned_reply_went_one_way() {
        let metrics = Metrics::default();
        let mut counts = Counts::default();
        counts.confirmed(Content::Reply(Code::Added, ReplyRoute::ReplyTo));
        counts.confirmed(Content::Reply(Code::EmailTaken, ReplyRoute::Returned));
        counts.confirmed(Content::Reply(Code::Added, ReplyRoute::ResultQueue));
        counts.count(&metrics);
        let ways = [
            ReplyRoute::ReplyTo,
            ReplyRoute::ResultQueue,
            ReplyRoute::Returned,
        ]
        .map(|way| metrics.replies.of(way).get());
        assert_eq!(ways, [1, 1, 1]);
        assert_eq!(
            (
                metrics.decisions.of(Code::Added).get(),
                metrics.decisions.of(Code::EmailTaken).get()
            ),
            (2, 1)
        );
    }
}
