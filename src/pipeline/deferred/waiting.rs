//! What waits: messages, by what they wait for, and how long and how many they may be.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::outgoing::Outgoing;
use crate::domain::outcome::DeadLetterReason;
use crate::limits::{DEFERRED_BYTES_MAX, DEFERRED_MESSAGES_MAX};
use crate::pipeline::compose::{Content, Message};
use crate::pipeline::destinations::Destination;
use crate::pipeline::outstanding::Outstanding;

/// How long a reply waits for the queue that its request named. Elections of a quorum queue's
/// leader take seconds at most.
pub(super) const REPLY_WAITS: Duration = Duration::from_secs(10);

/// How long anything else waits before its request is given back to the queue. It must be less than
/// half of the broker's `consumer_timeout`, which is 30 minutes where nobody has changed it.
pub(super) const OTHERS_WAIT: Duration = Duration::from_secs(300);

/// One message that waits.
#[derive(Debug)]
pub(super) struct WaitingMessage {
    pub(super) message: Message,
    pub(super) outstanding: Arc<Outstanding>,
    /// The key of its request among those that are open.
    pub(super) request: u64,
    pub(super) since: Instant,
    pub(super) attempts: u32,
}

impl AsRef<Outgoing> for WaitingMessage {
    fn as_ref(&self) -> &Outgoing {
        &self.message.outgoing
    }
}

/// How many messages wait for one destination.
#[derive(Debug, Clone)]
pub struct Backlog {
    /// What they wait for.
    pub destination: Destination,
    /// How many they are.
    pub messages: usize,
    /// Since when there is always one.
    pub since: Instant,
}

impl Backlog {
    /// A moment of it is nothing to tell.
    pub fn is_worth_telling(&self) -> bool {
        self.since.elapsed() > Duration::from_secs(1)
    }

    /// What an operator reads.
    pub fn words(&self) -> String {
        let Self {
            destination,
            messages,
            since,
        } = self;
        let seconds = since.elapsed().as_secs();
        let name = destination.name();
        format!(
            "{name} is full, gone or does not confirm: {messages} messages wait for it, since {seconds} s"
        )
    }
}

/// All that waits.
#[derive(Debug)]
pub(super) struct Waiting<M = WaitingMessage> {
    /// By destination; as long as there is an entry, a task publishes it.
    pub(super) queues: HashMap<Destination, VecDeque<M>>,
    pub(super) alone: VecDeque<M>,
    pub(super) alone_has_task: bool,
    pub(super) backlogs: HashMap<Destination, Backlog>,
    /// Requests of which something waits, or that a lane has not done with.
    pub(super) requests: BTreeMap<u64, Arc<Outstanding>>,
    pub(super) next_request: u64,
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// How many do not wait any more, but their requests are yet to be settled or given back.
    pub(super) settling: usize,
}

impl<M> Default for Waiting<M> {
    fn default() -> Self {
        Self {
            queues: HashMap::new(),
            alone: VecDeque::new(),
            alone_has_task: false,
            backlogs: HashMap::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            messages: 0,
            bytes: 0,
            settling: 0,
        }
    }
}

impl<M> Waiting<M> {
    pub(super) fn is_full(&self) -> bool {
        self.messages >= DEFERRED_MESSAGES_MAX || self.bytes >= DEFERRED_BYTES_MAX
    }

    /// One more waits for this destination.
    pub(super) fn count(&mut self, destination: Destination, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
        let backlog = self.backlogs.entry(destination.clone());
        let backlog = backlog.or_insert_with(|| Backlog {
            destination,
            messages: 0,
            since: Instant::now(),
        });
        backlog.messages += 1;
    }

    /// One waits no more.
    pub(super) fn uncount(&mut self, destination: &Destination, bytes: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(backlog) = self.backlogs.get_mut(destination) {
            backlog.messages = backlog.messages.saturating_sub(1);
            if backlog.messages == 0 {
                self.backlogs.remove(destination);
            }
        }
    }

    /// Adds a message to those that wait for the same; whether there is a task that publishes them.
    pub(super) fn push(&mut self, destination: Destination, message: M) -> bool {
        let has_task = self.queues.contains_key(&destination);
        let queue = self.queues.entry(destination).or_default();
        queue.push_back(message);
        has_task
    }

    /// The first ones for this destination. If there is none its task ends, and is none any more.
    pub(super) fn take(&mut self, destination: &Destination, most: usize) -> Option<Vec<M>> {
        let queue = self.queues.get_mut(destination)?;
        let count = queue.len().min(most);
        if count == 0 {
            self.queues.remove(destination);
            return None;
        }
        Some(queue.drain(..count).collect())
    }

    /// Before those that came later, in the same order.
    pub(super) fn put_back(&mut self, destination: &Destination, messages: Vec<M>) {
        let queue = self.queues.entry(destination.clone()).or_default();
        for message in messages.into_iter().rev() {
            queue.push_front(message);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.messages == 0 && self.settling == 0
    }
}

/// How long a message waits for its destination.
pub(super) fn limit(destination: &Destination) -> Duration {
    if destination.is_requesters() {
        REPLY_WAITS
    } else {
        OTHERS_WAIT
    }
}

impl WaitingMessage {
    /// About the memory that it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        self.message.outgoing.size()
    }

    /// Only what nobody could read is ever dropped.
    pub(super) fn may_be_dropped(&self) -> bool {
        self.message.content == Content::DeadLetter(DeadLetterReason::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str) -> Destination {
        Destination::Requester(name.to_owned())
    }

    #[test]
    fn what_could_not_be_published_comes_first_again() {
        let mut waiting = Waiting::default();
        assert!(!waiting.push(queue("one"), 1), "a task is to be begun");
        assert!(waiting.push(queue("one"), 2) && waiting.push(queue("one"), 3));
        assert_eq!(waiting.take(&queue("one"), 2), Some(vec![1, 2]));
        waiting.put_back(&queue("one"), vec![1, 2]);
        assert_eq!(waiting.take(&queue("one"), 9), Some(vec![1, 2, 3]));
    }

    #[test]
    fn a_task_ends_when_nothing_waits_and_the_next_message_needs_another() {
        let mut waiting = Waiting::default();
        waiting.push(queue("one"), 1);
        assert_eq!(waiting.take(&queue("one"), 9), Some(vec![1]));
        assert!(waiting.push(queue("one"), 2), "the task is still at it");
        assert_eq!(waiting.take(&queue("one"), 9), Some(vec![2]));
        assert_eq!(waiting.take(&queue("one"), 9), None);
        assert!(!waiting.push(queue("one"), 3));
    }

    #[test]
    fn a_backlog_is_known_as_long_as_something_waits() {
        let mut waiting = Waiting::<u8>::default();
        waiting.count(queue("one"), 100);
        waiting.count(queue("one"), 50);
        waiting.count(queue("two"), 1);
        assert_eq!((waiting.messages, waiting.bytes), (3, 151));
        assert_eq!(waiting.backlogs[&queue("one")].messages, 2);
        waiting.uncount(&queue("one"), 100);
        waiting.uncount(&queue("one"), 50);
        assert!(!waiting.backlogs.contains_key(&queue("one")) && !waiting.is_idle());
        waiting.uncount(&queue("two"), 1);
        assert!(waiting.is_idle() && waiting.bytes == 0);
    }

    #[test]
    fn it_is_full_by_messages_or_by_bytes() {
        let mut waiting = Waiting::<u8>::default();
        waiting.count(queue("one"), DEFERRED_BYTES_MAX - 1);
        assert!(!waiting.is_full());
        waiting.count(queue("one"), 1);
        assert!(waiting.is_full());
        let mut many = Waiting::<u8>::default();
        (0..DEFERRED_MESSAGES_MAX).for_each(|_| many.count(queue("one"), 0));
        assert!(many.is_full());
    }
}
