//! What goes where: a reply for every request, an event for every profile that wants one, a dead
//! letter for what can't be read or stored.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::health::Part;
use super::tally::Tally;
use super::vitals::Vitals;
use crate::broker::envelope::Envelope;
use crate::broker::error::BrokerError;
use crate::broker::messages::{self, DeathNote, ReplyMessage};
use crate::broker::outgoing::Outgoing;
use crate::broker::publisher::{Loss, Publisher};
use crate::config::TopologySettings;
use crate::domain::event;
use crate::domain::identity::{IdSource, ProfileId};
use crate::domain::outcome::{DeadLetterReason, Rejection};
use crate::domain::profile::NewProfile;
use crate::telemetry::context::TraceHeaders;
use crate::wire::Format;
use crate::wire::reply::Reply;

/// Everything that is to be said about one request now.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The request.
    pub envelope: &'a Envelope,
    /// Its format, and that of the reply.
    pub format: Format,
    /// The trace that goes on in what is said.
    pub trace: TraceHeaders<'a>,
    /// The reply, once everything of the request is stored.
    pub reply: Option<Reply<'a>>,
    /// The profiles to be announced.
    pub events: Vec<Announcement<'a>>,
    /// Keep the message for somebody to look at, for this reason.
    pub dead_letter: Option<(DeadLetterReason, &'a Rejection)>,
}

/// A profile that a trigger event is to be published of.
#[derive(Debug)]
pub struct Announcement<'a> {
    /// Its id in the database.
    pub id: ProfileId,
    /// When it was added.
    pub added_at: Timestamp,
    /// What it holds.
    pub profile: &'a NewProfile,
}

/// What is to be published of a batch.
#[derive(Debug, Default)]
pub struct Outbox {
    messages: Vec<Outgoing>,
    tally: Tally,
}

/// Messages that the broker has not taken.
#[derive(Default)]
struct Lost {
    again: Vec<Outgoing>,
    /// Replies among them that are now on their way to the result queue.
    redirected: u64,
    /// A queue that is full, if there is one.
    full: Option<String>,
    /// The queues of requesters that refused a reply, and may take it yet.
    refused_by: BTreeSet<String>,
}

/// How long a reply waits for its queue to have a leader. Elections take seconds at most; what refuses for
/// longer is the requester's own matter, and others wait behind it, so it is not waited for again.
const LEADERLESS_MAX: Duration = Duration::from_secs(10);

/// What is known of queues that refuse replies.
#[derive(Default)]
struct Refusing {
    full: HashSet<String>,
    since: Option<Instant>,
}

impl Refusing {
    /// Whether the queue is full. Then the reply is tried once more, as a queue may just have got its leader.
    async fn is_full(&mut self, publisher: &Publisher, queue: String) -> Result<bool, BrokerError> {
        if self.since.get_or_insert_with(Instant::now).elapsed() > LEADERLESS_MAX {
            publisher.give_up_on(&queue);
        }
        let is_full = publisher.is_full(&queue).await?;
        if is_full {
            self.full.insert(queue);
        }
        Ok(is_full)
    }
}

/// Composes answers and publishes them.
#[derive(Debug)]
pub struct Responder<'a> {
    /// Where to.
    pub topology: &'a TopologySettings,
    /// Which process says so.
    pub worker: &'a str,
    /// Where message ids come from.
    pub ids: &'a IdSource,
    /// The moment of the answers.
    pub now: Timestamp,
    /// To be told what was published, and what keeps it from being published.
    pub vitals: &'a Vitals,
}

impl Responder<'_> {
    /// Puts what is to be said about a request into messages.
    pub fn compose(&self, answer: &Answer<'_>, Outbox { messages, tally }: &mut Outbox) {
        if let Some(reply) = &answer.reply {
            let requester = self.requester(answer.envelope);
            messages.push(self.reply(answer, reply, requester));
            tally.reply(reply.code(), requester.is_some());
        }
        messages.extend(answer.events.iter().map(|event| self.event(answer.trace, event)));
        tally.events(answer.events.len());
        if let Some((reason, rejection)) = answer.dead_letter {
            messages.push(self.dead_letter(answer.envelope, rejection));
            tally.dead_letter(reason);
        }
    }

    /// Publishes, and waits until the broker has all of it safe. A reply that its requester does not
    /// get goes to the result queue. Whatever else meets a full queue is published again until there
    /// is room, and so is a reply whose queue has no leader for the moment.
    pub async fn publish(&self, publisher: &Publisher, outbox: Outbox) -> Result<(), BrokerError> {
        let Outbox { mut messages, mut tally } = outbox;
        let mut waiting: Option<Backoff> = None;
        let mut refusing = Refusing::default();
        loop {
            let lost = publisher.publish(&messages).await?;
            if lost.is_empty() {
                if waiting.is_some() {
                    info!("there is room again");
                    self.vitals.health.well(Part::Queues);
                }
                tally.count(&self.vitals.metrics);
                return Ok(());
            }
            let Lost { again, redirected, full, refused_by } = self.sort_out(messages, &lost, &refusing)?;
            messages = again;
            tally.returned(redirected);
            if redirected > 0
                && let Some(replies) = self.vitals.returned.happened(redirected)
            {
                warn!(
                    replies,
                    queue = self.topology.result_queue,
                    "nobody is behind the reply_to of some requests, or the queue there is full; their replies go to the result queue"
                );
            }
            let is_refused = full.is_some() || !refused_by.is_empty();
            let mut waits_as = full.map(|full| format!("{full} is full"));
            for queue in refused_by {
                let reason = format!("the queue {queue} has no leader");
                if !refusing.is_full(publisher, queue).await? {
                    waits_as.get_or_insert(reason);
                }
            }
            if let Some(reason) = waits_as {
                let backoff = waiting.get_or_insert_with(|| {
                    warn!("{reason}; requests are held until there is room");
                    Backoff::default()
                });
                self.vitals.health.trouble(Part::Queues, reason);
                backoff.wait().await;
            }
            if is_refused {
                // A queue may have another leader by now, of which this channel would never hear.
                publisher.renew().await?;
            }
        }
    }

    /// What is to be published again.
    fn sort_out(&self, messages: Vec<Outgoing>, losses: &[Loss], refusing: &Refusing) -> Result<Lost, BrokerError> {
        let mut lost = Lost::default();
        let mut losses = losses.iter().peekable();
        for (place, mut message) in messages.into_iter().enumerate() {
            let Some(loss) = losses.next_if(|loss| loss.place == place) else { continue };
            let requester = message.requester(&self.topology.result_queue);
            let may_take_it = |queue: &&str| loss.is_refused && !refusing.full.contains(*queue);
            if let Some(queue) = requester.filter(may_take_it) {
                lost.refused_by.insert(queue.to_owned());
            } else if message.redirect(&self.topology.result_queue) {
                lost.redirected += 1;
            } else if loss.is_refused {
                lost.full.get_or_insert_with(|| message.destination());
            } else {
                return Err(BrokerError::Unroutable(message.destination()));
            }
            lost.again.push(message);
        }
        Ok(lost)
    }

    /// Where the producer wants the reply, unless that would bring it back to us as a request.
    fn requester<'e>(&self, envelope: &'e Envelope) -> Option<&'e str> {
        let would_loop = |name: &str| name == self.topology.request_queue || name == self.topology.dead_letter_queue;
        envelope.reply_to().filter(|name| !would_loop(name))
    }

    fn reply(&self, answer: &Answer<'_>, reply: &Reply<'_>, requester: Option<&str>) -> Outgoing {
        let id = self.new_id().hex();
        let message = ReplyMessage {
            message_id: id.as_str(),
            body: reply.to_bytes(answer.format),
            content_type: answer.format.content_type(),
            error: reply.code().number(),
            timestamp: self.timestamp(),
            request: answer.envelope,
            trace: answer.trace,
        };
        match requester {
            Some(reply_to) => message.to_requester(reply_to),
            None => message.to_result_queue(&self.topology.result_queue, answer.envelope.reply_to()),
        }
    }

    fn event(&self, trace: TraceHeaders<'_>, announcement: &Announcement<'_>) -> Outgoing {
        let Announcement { id, added_at, profile } = *announcement;
        let email = profile.email.as_deref();
        messages::event(
            &self.topology.event_exchange,
            &event::routing_key(profile.db_id),
            &event::message_id(id),
            event::Added::new(profile.db_id, id, email, &profile.subscriptions, added_at).to_json(),
            self.timestamp(),
            trace,
        )
    }

    fn dead_letter(&self, envelope: &Envelope, rejection: &Rejection) -> Outgoing {
        let note = DeathNote {
            error: rejection.code.number(),
            error_text: &rejection.text,
            timestamp: self.timestamp(),
            worker: self.worker,
        };
        messages::dead_letter(&self.topology.dead_letter_queue, self.new_id().to_string(), envelope, &note)
    }

    fn new_id(&self) -> ProfileId {
        self.ids.next(self.now.as_second())
    }

    fn timestamp(&self) -> u64 {
        u64::try_from(self.now.as_second()).unwrap_or(0)
    }
}
