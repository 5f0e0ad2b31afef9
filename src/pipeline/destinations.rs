//! What is remembered of where messages go: addresses that take nothing, queues that are slow, and
//! how large a message may be. It outlives the sessions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::outgoing::Outgoing;
use crate::broker::reply_address::{ReplyAddress, TOPIC_EXCHANGE};
use crate::sync::lock;
use crate::telemetry::labels;

/// How long it is remembered that a destination takes nothing, or takes it slowly.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Of so many destinations something is remembered; requests name them, so there may be any number.
const REMEMBERED_MAX: usize = 1000;

/// Bodies up to so many bytes are published without asking whether the broker takes them. That it
/// does is tried when a session begins.
pub(crate) const TRIED_BYTES: usize = 64 * 1024;

/// What is remembered of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It takes nothing: what is for it goes to the result queue at once.
    Refuses,
    /// It has not confirmed in time: what is for it is published beside the lanes.
    Slow,
}

/// Where a message goes: messages with one destination share its fate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A queue that a request named.
    Requester(String),
    /// A topic that a request named.
    Topic(String),
    /// The exchange of all such topics.
    Topics,
    /// The result queue.
    Results(String),
    /// The dead-letter queue.
    DeadLetters(String),
    /// The exchange for events, with a routing key.
    Event {
        /// The exchange.
        exchange: String,
        /// The routing key, which has the database's id.
        routing_key: String,
    },
}

impl Destination {
    /// Where this message goes.
    pub fn of(message: &Outgoing, result_queue: &str) -> Self {
        let routing_key = message.routing_key().to_owned();
        match message.requester(result_queue) {
            Some(ReplyAddress::Queue(_) | ReplyAddress::Direct(_)) => Self::Requester(routing_key),
            Some(ReplyAddress::Topic(_)) => Self::Topic(routing_key),
            None if !message.is_to_queue() => Self::Event {
                exchange: message.exchange().to_owned(),
                routing_key,
            },
            None if routing_key == result_queue => Self::Results(routing_key),
            None => Self::DeadLetters(routing_key),
        }
    }

    /// Whether it is a requester's: others need not hear of its troubles.
    pub fn is_requesters(&self) -> bool {
        matches!(self, Self::Requester(_) | Self::Topic(_) | Self::Topics)
    }

    /// As the metrics name it.
    pub fn label(&self) -> labels::Destination {
        match self {
            Self::Requester(_) | Self::Topic(_) | Self::Topics => labels::Destination::Requester,
            Self::Results(_) => labels::Destination::Results,
            Self::DeadLetters(_) => labels::Destination::DeadLetters,
            Self::Event { .. } => labels::Destination::Events,
        }
    }

    /// Its name for people.
    pub fn name(&self) -> String {
        match self {
            Self::Requester(queue) | Self::Results(queue) | Self::DeadLetters(queue) => {
                format!("the queue {queue}")
            }
            Self::Topic(key) => format!("the topic {key} of {TOPIC_EXCHANGE}"),
            Self::Topics => format!("the exchange {TOPIC_EXCHANGE}"),
            Self::Event {
                exchange,
                routing_key,
            } => {
                format!("a queue behind the exchange {exchange} and the routing key {routing_key}")
            }
        }
    }
}

/// What is remembered of destinations.
#[derive(Debug, Default)]
pub struct Destinations {
    known: Mutex<HashMap<Destination, (Known, Instant)>>,
    /// How many there are: mostly none, which is seen without the lock.
    count: AtomicUsize,
}

impl Destinations {
    /// What is remembered of this one.
    pub fn look(&self, destination: &Destination) -> Option<Known> {
        self.look_at(destination, Instant::now())
    }

    /// Looks for what is remembered of a message's destination.
    pub fn look_for(&self, message: &Outgoing, result_queue: &str) -> Option<Known> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let destination = Destination::of(message, result_queue);
        let known = self.look(&destination);
        if known.is_none() && matches!(destination, Destination::Topic(_)) {
            return self.look(&Destination::Topics);
        }
        known
    }

    fn look_at(&self, destination: &Destination, now: Instant) -> Option<Known> {
        let (known, until) = *self.known().get(destination)?;
        (now < until).then_some(known)
    }

    /// Remembers something for a minute.
    pub fn remember(&self, destination: Destination, what: Known) {
        self.remember_at(destination, what, Instant::now());
    }

    fn remember_at(&self, destination: Destination, what: Known, now: Instant) {
        let mut known = self.known();
        if known.len() >= REMEMBERED_MAX {
            known.retain(|_, (_, until)| now < *until);
        }
        if known.len() < REMEMBERED_MAX || known.contains_key(&destination) {
            known.insert(destination, (what, now + REMEMBERED_FOR));
        }
        self.count.store(known.len(), Ordering::Relaxed);
    }

    /// All is well with this one again.
    pub fn forget(&self, destination: &Destination) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut known = self.known();
            known.remove(destination);
            self.count.store(known.len(), Ordering::Relaxed);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Destination, (Known, Instant)>> {
        lock(&self.known)
    }
}

/// How large a body may be that we publish: the broker's `max_message_size`, which AMQP does not
/// announce. It is learned when the broker refuses one, and before a larger one than ever before is
/// published the broker is asked.
#[derive(Debug)]
pub struct SizeLimit {
    /// A body of so many bytes was taken.
    taken: AtomicUsize,
    /// No larger one is.
    limit: AtomicUsize,
}

impl Default for SizeLimit {
    fn default() -> Self {
        Self {
            taken: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
        }
    }
}

impl SizeLimit {
    /// The most bytes that a body may have, as far as is known.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// The broker takes no larger body than this.
    pub fn learn(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.taken.fetch_min(limit, Ordering::Relaxed);
    }

    /// Nothing is known any more: there may be another limit by now.
    pub fn forget(&self) {
        self.taken.store(0, Ordering::Relaxed);
        self.limit.store(usize::MAX, Ordering::Relaxed);
    }

    /// The broker takes a body of so many bytes.
    pub fn takes(&self, bytes: usize) {
        self.taken.fetch_max(bytes, Ordering::Relaxed);
    }

    /// How large a body the broker should be asked about before one of so many bytes is published;
    /// at least twice as large as the one before, so that it is not asked often. None, if that is
    /// known.
    pub fn to_ask(&self, bytes: usize) -> Option<usize> {
        let (taken, limit) = (self.taken.load(Ordering::Relaxed), self.limit());
        (bytes > taken && bytes <= limit)
            .then(|| bytes.next_power_of_two().max(TRIED_BYTES).min(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str) -> Destination {
        Destination::Requester(name.to_owned())
    }

    #[test]
    fn what_is_known_of_a_destination_is_forgotten_after_a_minute() {
        let destinations = Destinations::default();
        assert_eq!(destinations.look(&queue("a")), None);
        destinations.remember(queue("a"), Known::Slow);
        destinations.remember(queue("a"), Known::Refuses);
        destinations.remember(queue("b"), Known::Slow);
        destinations.forget(&queue("b"));
        assert_eq!(
            (
                destinations.look(&queue("a")),
                destinations.look(&queue("b"))
            ),
            (Some(Known::Refuses), None)
        );
        assert_eq!(
            destinations.look_at(&queue("a"), Instant::now() + REMEMBERED_FOR),
            None
        );
    }

    #[test]
    fn requests_that_name_many_destinations_take_no_more_memory() {
        let destinations = Destinations::default();
        for i in 0..2 * REMEMBERED_MAX {
            destinations.remember(queue(&i.to_string()), Known::Refuses);
        }
        assert_eq!(destinations.count.load(Ordering::Relaxed), REMEMBERED_MAX);
        destinations.remember(queue("new"), Known::Slow);
        assert_eq!(destinations.look(&queue("new")), None);
        destinations.remember_at(queue("new"), Known::Slow, Instant::now() + REMEMBERED_FOR);
        assert_eq!(destinations.look(&queue("new")), Some(Known::Slow));
    }

    #[test]
    fn the_broker_is_asked_about_a_size_once() {
        let size = SizeLimit::default();
        assert_eq!(size.to_ask(10), Some(TRIED_BYTES));
        size.takes(TRIED_BYTES);
        assert_eq!(size.to_ask(TRIED_BYTES), None);
        assert_eq!(size.to_ask(TRIED_BYTES + 1), Some(2 * TRIED_BYTES));
        size.learn(100_000);
        assert_eq!(size.to_ask(TRIED_BYTES + 1), Some(100_000));
        size.takes(100_000);
        assert_eq!((size.to_ask(100_000), size.to_ask(100_001)), (None, None));
        size.learn(50);
        assert_eq!((size.to_ask(50), size.limit()), (None, 50));
    }
}
