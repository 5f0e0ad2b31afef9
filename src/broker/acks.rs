//! What was delivered over a channel and is not acknowledged yet, and what of it can be.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

/// What is worked on for so long is held up by something, such as a lock in the database: nobody
/// else waits for it.
pub(super) const HELD_UP_AFTER: Duration = Duration::from_millis(100);

/// A quorum queue takes so many acknowledgements at a time. More it keeps back for a while, and
/// forgets if the channel closes meanwhile: then what they were for is delivered again.
const SINGLY_MAX: usize = 32;

/// A batch that takes so long is waited for by no acknowledgement, however many there are.
const LONG_HELD_UP_AFTER: Duration = Duration::from_secs(1);

/// How long a quorum queue that has much to do needs for one acknowledgement of those that it keeps
/// back.
const SINGLY_TAKES: Duration = Duration::from_millis(2);

/// Single acknowledgements that the broker may not have taken yet: it tells nobody.
#[derive(Debug, Default)]
pub(super) struct SingleAcks {
    /// When it has taken them all, as far as we can tell.
    taken_at: Option<Instant>,
}

impl SingleAcks {
    /// Notes that so many more were acknowledged one by one.
    pub(super) fn sent(&mut self, count: usize, now: Instant) {
        let before = self.taken_at.map_or(now, |taken_at| taken_at.max(now));
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.taken_at = Some(before + SINGLY_TAKES.saturating_mul(count));
    }

    /// How long the channel had better stay open, so that none of them is forgotten.
    pub(super) fn keep_open(&self, now: Instant) -> Duration {
        let open = self.taken_at.map_or(Duration::ZERO, |taken_at| {
            taken_at.saturating_duration_since(now)
        });
        // So many it takes at once.
        if open > SINGLY_TAKES * SINGLY_MAX as u32 {
            open
        } else {
            Duration::ZERO
        }
    }
}

/// What came over a channel and is not acknowledged yet.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// In the order of their deliveries.
    batches: VecDeque<Unanswered>,
    /// The delivery tags of requests that are settled by themselves, and are not yet.
    set_aside: BTreeSet<u64>,
    /// Those that were, of batches that are not acknowledged yet: they must not be named again.
    settled_apart: BTreeSet<u64>,
    /// The last delivery tag of all batches that were begun.
    begun: u64,
}

/// A batch that is being worked on, or was answered before an earlier one.
#[derive(Debug)]
struct Unanswered {
    tags: RangeInclusive<u64>,
    since: Instant,
    is_answered: bool,
}

/// What to acknowledge. The broker refuses a tag that is acknowledged already, so each of these is
/// of a batch that was not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Acks {
    /// All that came until then ("multiple"): it ends before the first request that is set aside.
    pub(super) up_to: Option<u64>,
    /// One by one, after that.
    pub(super) singly: Vec<u64>,
}

impl Unsettled {
    /// A batch is begun.
    pub(super) fn begin(&mut self, tags: RangeInclusive<u64>, now: Instant) {
        self.begun = self.begun.max(*tags.end());
        self.batches.push_back(Unanswered {
            tags,
            since: now,
            is_answered: false,
        });
    }

    /// Requests of a batch that are settled by themselves.
    pub(super) fn set_aside(&mut self, tags: Vec<u64>) {
        let open = tags
            .into_iter()
            .filter(|tag| !self.settled_apart.contains(tag));
        self.set_aside.extend(open);
    }

    /// One that was set aside is acknowledged.
    pub(super) fn settled_apart(&mut self, tag: u64) {
        self.set_aside.remove(&tag);
        // One that overtook those around it may be in the middle of a batch that is yet to begin.
        self.settled_apart.insert(tag);
        self.forget_settled_apart();
    }

    /// Notes that a batch is answered; returns what can be acknowledged now: the batches that are
    /// answered with all before them, and behind one that is held up all that are answered.
    pub(super) fn answer(&mut self, tags: &RangeInclusive<u64>, now: Instant) -> Acks {
        if let Some(batch) = self.batches.iter_mut().find(|batch| batch.tags == *tags) {
            batch.is_answered = true;
        }
        let mut acks = Acks::default();
        while self.batches.front().is_some_and(|first| first.is_answered)
            && let Some(Unanswered { tags, .. }) = self.batches.pop_front()
        {
            let (first, last) = tags.into_inner();
            let oldest_aside = self
                .set_aside
                .first()
                .copied()
                .filter(|oldest| *oldest <= last);
            let together = first..oldest_aside.unwrap_or(last + 1);
            // The broker has to find the tag itself; below it, it takes what there is.
            acks.up_to = together
                .rev()
                .find(|tag| !self.settled_apart.contains(tag))
                .or(acks.up_to);
            if let Some(oldest) = oldest_aside {
                acks.singly.extend(self.singly(first.max(oldest)..=last));
            }
            self.forget_settled_apart();
        }
        if self.is_held_up(now) {
            acks.singly.extend(self.take_answered());
        }
        acks
    }

    fn singly(&self, tags: RangeInclusive<u64>) -> impl Iterator<Item = u64> {
        tags.filter(|tag| !self.set_aside.contains(tag) && !self.settled_apart.contains(tag))
    }

    /// Forgets what was settled apart in batches that are gone.
    fn forget_settled_apart(&mut self) {
        let Self { batches, begun, .. } = self;
        self.settled_apart
            .retain(|tag| tag > begun || batches.iter().any(|batch| batch.tags.contains(tag)));
    }

    /// Whether the first batch keeps others waiting for too long.
    fn is_held_up(&self, now: Instant) -> bool {
        let Some(first) = self.batches.front() else {
            return false;
        };
        let answered = self.batches.iter().filter(|batch| batch.is_answered);
        let overtaken: usize = answered.map(|batch| batch.tags.clone().count()).sum();
        let limit = if overtaken <= SINGLY_MAX {
            HELD_UP_AFTER
        } else {
            LONG_HELD_UP_AFTER
        };
        now - first.since > limit
    }

    /// Takes out the batches that were answered before an earlier one; the tags to acknowledge.
    pub(super) fn take_answered(&mut self) -> Vec<u64> {
        let (answered, others): (VecDeque<_>, _) = std::mem::take(&mut self.batches)
            .into_iter()
            .partition(|batch| batch.is_answered);
        self.batches = others;
        let tags = answered
            .into_iter()
            .flat_map(|batch| self.singly(batch.tags))
            .collect();
        self.forget_settled_apart();
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_stays_open_until_many_single_acknowledgements_are_taken() {
        let (mut acks, now) = (SingleAcks::default(), Instant::now());
        assert_eq!(acks.keep_open(now), Duration::ZERO);
        acks.sent(SINGLY_MAX, now);
        assert_eq!(
            acks.keep_open(now),
            Duration::ZERO,
            "so many are taken at once"
        );
        acks.sent(1000 - SINGLY_MAX, now);
        assert_eq!(acks.keep_open(now), SINGLY_TAKES * 1000);
        let later = now + SINGLY_TAKES * 900;
        assert_eq!(acks.keep_open(later), SINGLY_TAKES * 100);
        acks.sent(100, later);
        assert_eq!(acks.keep_open(later), SINGLY_TAKES * 200);
        let much_later = now + Duration::from_secs(60);
        acks.sent(SINGLY_MAX + 1, much_later);
        assert_eq!(
            acks.keep_open(much_later),
            SINGLY_TAKES * (SINGLY_MAX as u32 + 1),
            "what was is forgotten"
        );
    }

    /// Batches 1 to 3, 4, 5 to 9 and 10 to 12.
    fn four_batches() -> (Unsettled, Instant) {
        let now = Instant::now();
        let batches = [1..=3, 4..=4, 5..=9, 10..=12];
        let batches = batches.map(|tags| Unanswered {
            tags,
            since: now,
            is_answered: false,
        });
        (
            Unsettled {
                batches: batches.into(),
                begun: 12,
                ..Unsettled::default()
            },
            now,
        )
    }

    fn acks(up_to: impl Into<Option<u64>>, singly: &[u64]) -> Acks {
        Acks {
            up_to: up_to.into(),
            singly: singly.to_vec(),
        }
    }

    #[test]
    fn batches_are_acknowledged_in_the_order_of_their_deliveries() {
        let (mut unsettled, now) = four_batches();
        assert_eq!(unsettled.answer(&(4..=4), now), acks(None, &[]));
        assert_eq!(unsettled.answer(&(1..=3), now), acks(4, &[]));
        assert_eq!(unsettled.answer(&(5..=9), now), acks(9, &[]));
        assert_eq!(unsettled.answer(&(10..=12), now), acks(12, &[]));
        assert!(unsettled.batches.is_empty());
    }

    #[test]
    fn what_is_set_aside_is_left_out() {
        let (mut unsettled, now) = four_batches();
        unsettled.set_aside.extend([2, 7]);
        assert_eq!(unsettled.answer(&(1..=3), now), acks(1, &[3]));
        assert_eq!(unsettled.answer(&(4..=4), now), acks(None, &[4]));
        unsettled.set_aside.remove(&2);
        assert_eq!(unsettled.answer(&(5..=9), now), acks(6, &[8, 9]));
    }

    #[test]
    fn nothing_is_acknowledged_twice_when_a_batch_was_overtaken() {
        let (mut unsettled, now) = four_batches();
        let later = now + HELD_UP_AFTER * 2;
        unsettled.set_aside.insert(4);
        assert_eq!(unsettled.answer(&(4..=4), later), acks(None, &[]));
        unsettled.set_aside.insert(7);
        assert_eq!(unsettled.answer(&(5..=9), later), acks(None, &[5, 6, 8, 9]));
        assert_eq!(unsettled.answer(&(10..=12), now), acks(None, &[]));
        assert_eq!(unsettled.answer(&(1..=3), now), acks(3, &[10, 11, 12]));
        assert!(unsettled.batches.is_empty());
    }

    #[test]
    fn what_was_settled_apart_before_its_batch_is_not_named_again() {
        let (mut unsettled, now) = four_batches();
        unsettled.set_aside(vec![4]);
        assert_eq!(unsettled.answer(&(4..=4), now), acks(None, &[]));
        unsettled.settled_apart(4);
        assert_eq!(
            unsettled.answer(&(1..=3), now),
            acks(3, &[]),
            "4 is gone already"
        );
        // Settled before the batch that it was taken out of is answered at all.
        unsettled.settled_apart(9);
        unsettled.settled_apart(6);
        unsettled.set_aside(vec![6, 8, 9]);
        assert_eq!(unsettled.answer(&(5..=9), now), acks(7, &[]));
        unsettled.settled_apart(8);
        assert_eq!(unsettled.answer(&(10..=12), now), acks(12, &[]));
        assert!(unsettled.set_aside.is_empty() && unsettled.settled_apart.is_empty());
    }

    #[test]
    fn nor_when_it_was_overtaken() {
        let (mut unsettled, now) = four_batches();
        let later = now + HELD_UP_AFTER * 2;
        unsettled.set_aside(vec![5, 7]);
        unsettled.settled_apart(7);
        assert_eq!(unsettled.answer(&(5..=9), later), acks(None, &[6, 8, 9]));
        unsettled.settled_apart(5);
        assert_eq!(unsettled.answer(&(1..=3), now), acks(3, &[]));
        assert_eq!(unsettled.answer(&(4..=4), now), acks(4, &[]));
    }

    #[test]
    fn one_that_was_settled_before_its_neighbours_were_begun_is_not_named_again() {
        let (mut unsettled, now) = four_batches();
        unsettled.set_aside(vec![15]);
        unsettled.settled_apart(15);
        unsettled.begin(13..=17, now);
        assert_eq!(
            unsettled.answer(&(13..=17), now + HELD_UP_AFTER * 2),
            acks(None, &[13, 14, 16, 17])
        );
        assert!(unsettled.settled_apart.is_empty());
    }

    #[test]
    fn many_that_were_overtaken_wait_longer() {
        let now = Instant::now();
        let batches = [1..=1, 2..=200].map(|tags| Unanswered {
            tags,
            since: now,
            is_answered: false,
        });
        let mut unsettled = Unsettled {
            batches: batches.into(),
            ..Unsettled::default()
        };
        assert_eq!(
            unsettled.answer(&(2..=200), now + HELD_UP_AFTER * 2),
            acks(None, &[])
        );
        let late = unsettled.answer(&(2..=200), now + LONG_HELD_UP_AFTER * 2);
        assert_eq!((late.up_to, late.singly.len()), (None, 199));
    }
}
