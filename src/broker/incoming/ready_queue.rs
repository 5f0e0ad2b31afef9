//! What came in and is in no batch yet: small requests and large ones, which take turns.

use std::collections::VecDeque;

use crate::broker::batch::BatchLimits;
use crate::broker::envelope::Envelope;

/// A batch of so many requests is worth its cost: in a larger one each costs hardly less.
const WORTHWHILE: usize = 200;

/// Requests that wait for a lane, each with the bytes that it counts for.
#[derive(Debug)]
pub(in crate::broker) struct ReadyQueue<T = Envelope> {
    small: VecDeque<(usize, T)>,
    small_bytes: usize,
    large: VecDeque<(usize, T)>,
    /// The last batch was one of small requests.
    large_is_next: bool,
}

impl<T> Default for ReadyQueue<T> {
    fn default() -> Self {
        Self {
            small: VecDeque::new(),
            small_bytes: 0,
            large: VecDeque::new(),
            large_is_next: false,
        }
    }
}

impl<T> ReadyQueue<T> {
    pub(super) fn push_small(&mut self, bytes: usize, request: T) {
        self.small_bytes += bytes;
        self.small.push_back((bytes, request));
    }

    pub(super) fn push_large(&mut self, bytes: usize, request: T) {
        self.large.push_back((bytes, request));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    /// Whether a batch of the small ones is worth its cost.
    pub(in crate::broker) fn is_worthwhile(&self, limits: BatchLimits) -> bool {
        self.small.len() >= WORTHWHILE.min(limits.requests_max)
            || self.small_bytes >= limits.bytes_max
    }

    /// Whether there is a large one that may be taken.
    pub(in crate::broker) fn has_large(&self, limits: BatchLimits) -> bool {
        limits.large_bytes_max > 0 && !self.large.is_empty()
    }

    /// Whether a large one comes before the small ones: the two take turns.
    pub(in crate::broker) fn is_turn_of_large(&self, limits: BatchLimits) -> bool {
        self.has_large(limits) && (self.large_is_next || self.small.is_empty())
    }

    /// Takes the first of the small ones, within the limits.
    pub(in crate::broker) fn first_small(&mut self, limits: BatchLimits) -> Vec<T> {
        let (first, bytes) = first(&mut self.small, limits.requests_max, limits.bytes_max);
        self.small_bytes -= bytes;
        self.large_is_next = true;
        first
    }

    /// Takes the first of the large ones, within the limits.
    pub(in crate::broker) fn first_large(&mut self, limits: BatchLimits) -> Vec<T> {
        self.large_is_next = false;
        first(&mut self.large, limits.requests_max, limits.large_bytes_max).0
    }
}

/// Takes the first ones within the limits, one at least, with their bytes: the one that reaches the
/// limit is the last.
fn first<T>(
    ready: &mut VecDeque<(usize, T)>,
    requests_max: usize,
    bytes_max: usize,
) -> (Vec<T>, usize) {
    let (mut count, mut bytes) = (0, 0);
    for (size, _) in ready.iter().take(requests_max) {
        if bytes >= bytes_max {
            break;
        }
        bytes += size;
        count += 1;
    }
    let first = ready.drain(..count).map(|(_, request)| request).collect();
    (first, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BatchLimits = BatchLimits {
        requests_max: 3,
        bytes_max: 100,
        large_bytes_max: 1000,
    };

    fn queue(small: &[usize], large: &[usize]) -> ReadyQueue<usize> {
        let mut queue = ReadyQueue::default();
        small
            .iter()
            .for_each(|bytes| queue.push_small(*bytes, *bytes));
        large
            .iter()
            .for_each(|bytes| queue.push_large(*bytes, *bytes));
        queue
    }

    #[test]
    fn a_batch_ends_with_the_request_that_reaches_a_limit() {
        let mut requests = queue(&[1, 2, 3, 4], &[]);
        assert_eq!(requests.first_small(LIMITS), vec![1, 2, 3]);
        assert_eq!(requests.first_small(LIMITS), vec![4]);
        assert_eq!(requests.first_small(LIMITS), Vec::<usize>::new());
        let mut bytes = queue(&[60, 60, 60], &[]);
        assert_eq!(bytes.first_small(LIMITS), vec![60, 60]);
        let mut one = queue(&[5000], &[]);
        assert_eq!(one.first_small(LIMITS), vec![5000], "one at least");
    }

    #[test]
    fn a_batch_is_worthwhile_when_either_limit_is_reached_or_it_has_two_hundred() {
        assert!(!queue(&[1, 1], &[]).is_worthwhile(LIMITS));
        assert!(queue(&[1, 1, 1], &[]).is_worthwhile(LIMITS));
        assert!(queue(&[100], &[]).is_worthwhile(LIMITS));
        let wide = BatchLimits {
            requests_max: 1000,
            bytes_max: 1000,
            ..LIMITS
        };
        assert!(!queue(&[1; WORTHWHILE - 1], &[]).is_worthwhile(wide));
        assert!(queue(&[1; WORTHWHILE], &[]).is_worthwhile(wide));
    }

    #[test]
    fn small_and_large_ones_take_turns() {
        let mut requests = queue(&[1, 1, 1, 1], &[500, 600, 700]);
        assert!(!requests.is_turn_of_large(LIMITS), "small ones come first");
        requests.first_small(LIMITS);
        assert!(requests.is_turn_of_large(LIMITS));
        assert_eq!(requests.first_large(LIMITS), [500, 600]);
        assert!(!requests.is_turn_of_large(LIMITS));
        requests.first_small(LIMITS);
        assert!(requests.is_turn_of_large(LIMITS));
    }

    #[test]
    fn who_may_take_no_large_ones_sees_none() {
        let requests = queue(&[], &[500]);
        assert!(requests.is_turn_of_large(LIMITS));
        let small_only = BatchLimits {
            large_bytes_max: 0,
            ..LIMITS
        };
        assert!(!requests.has_large(small_only) && !requests.is_turn_of_large(small_only));
    }
}
