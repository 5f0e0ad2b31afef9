//! What waits: messages, by what they wait for, and how long and how many they may be.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::outgoing::Outgoing;
use crate::domain::outcome::DeadLetterReason;
use crate::limits::{DEFERRED_BYTES_MAX, DEFERRED_MESSAGES_MAX};
use crate::pipeline::compose::{Parcel, Says};
use crate::pipeline::destinations::Destination;
use crate::pipeline::owed::Owed;

/// How long a reply waits for the queue that its request named. Elections of a quorum queue's
/// leader take seconds at most.
pub(super) const REPLY_WAITS: Duration = Duration::from_secs(10);

/// How long anything else waits before its request is given back to the queue. It must be less than
/// half of the broker's `consumer_timeout`, which is 30 minutes where nobody has changed it.
pub(super) const OTHERS_WAIT: Duration = Duration::from_secs(300);

/// One message that waits.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) parcel: Parcel,
    pub(super) owed: Arc<Owed>,
    /// The key of its request among those that are open.
    pub(super) request: u64,
    pub(super) since: Instant,
    pub(super) attempts: u32,
}

impl AsRef<Outgoing> for Errand {
    fn as_ref(&self) -> &Outgoing {
        &self.parcel.message
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

#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By destination; as long as there is an entry, a task tends it.
    pub(super) queues: HashMap<Destination, VecDeque<Errand>>,
    pub(super) alone: VecDeque<Errand>,
    pub(super) alone_is_tended: bool,
    pub(super) backlogs: HashMap<Destination, Backlog>,
    /// Requests of which something waits, or that a lane has not done with.
    pub(super) requests: BTreeMap<u64, Arc<Owed>>,
    pub(super) next_request: u64,
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// How many do not wait any more, but their requests are yet to be settled or given back.
    pub(super) settling: usize,
}

impl Waiting {
    pub(super) fn is_full(&self) -> bool {
        self.messages >= DEFERRED_MESSAGES_MAX || self.bytes >= DEFERRED_BYTES_MAX
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

impl Errand {
    /// Only what nobody could read is ever dropped.
    pub(super) fn may_be_dropped(&self) -> bool {
        self.parcel.says == Says::DeadLetter(DeadLetterReason::Unreadable)
    }
}
