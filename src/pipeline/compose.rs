//! What is said: a reply for every request, an event for every profile that wants one, a dead
//! letter for what can't be read or stored.

use jiff::Timestamp;

use crate::broker::envelope::{Envelope, TraceHeaders};
use crate::broker::messages::{self, DeathNote, ReplyMessage};
use crate::broker::outgoing::Outgoing;
use crate::broker::reply_address::{ReplyAddress, meant_queue};
use crate::broker::topology::TopologySettings;
use crate::domain::email::Email;
use crate::domain::identity::{IdSource, ProfileId};
use crate::domain::outcome::{Code, DeadLetterReason, Rejection};
use crate::domain::profile::NewProfile;
use crate::telemetry::labels::ReplyRoute;
use crate::wire::Format;
use crate::wire::event;
use crate::wire::reply::Reply;

/// Everything that is to be said about one request now.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
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
pub(crate) struct Announcement<'a> {
    /// Its id in the database.
    pub id: ProfileId,
    /// When it was added.
    pub added_at: Timestamp,
    /// What it holds.
    pub profile: &'a NewProfile,
}

/// A message, what it says, and of which request.
#[derive(Debug)]
pub struct Message {
    /// To be published.
    pub outgoing: Outgoing,
    /// What it says.
    pub content: Content,
    /// The index of its request among those that are answered together.
    pub request: usize,
}

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// What became of a request.
    Reply(Code, ReplyRoute),
    /// A profile was added.
    Event,
    /// Somebody should look at this message.
    DeadLetter(DeadLetterReason),
}

impl AsRef<Outgoing> for Message {
    fn as_ref(&self) -> &Outgoing {
        &self.outgoing
    }
}

impl Message {
    /// What came back goes to the queue that its address means. False if it means none.
    pub fn readdress(&mut self, result_queue: &str) -> bool {
        self.outgoing.readdress(result_queue)
    }

    /// A reply that its requester does not get goes to the result queue. False if it is none, or is
    /// on its way there already.
    pub fn redirect(&mut self, result_queue: &str) -> bool {
        let is_redirected = self.outgoing.redirect(result_queue);
        if let Content::Reply(_, way) = &mut self.content
            && is_redirected
        {
            *way = ReplyRoute::Returned;
        }
        is_redirected
    }
}

/// What turns the answer to a request into messages.
#[derive(Debug)]
pub(super) struct Responder<'a> {
    /// Where to.
    pub topology: &'a TopologySettings,
    /// Which process says so.
    pub worker: &'a str,
    /// Where message ids come from.
    pub ids: &'a IdSource,
    /// The moment of the answers.
    pub now: Timestamp,
    /// The broker takes no larger body.
    pub body_max: usize,
}

impl Responder<'_> {
    /// Puts what is to be said about a request into messages; `request` is its index.
    pub(super) fn compose(&self, answer: &Answer<'_>, request: usize, messages: &mut Vec<Message>) {
        if let Some(reply) = &answer.reply {
            let requester = self.requester(answer.envelope);
            let way = if requester.is_some() {
                ReplyRoute::ReplyTo
            } else {
                ReplyRoute::ResultQueue
            };
            let outgoing = self.reply(answer, reply, requester);
            messages.push(Message {
                outgoing,
                content: Content::Reply(reply.code(), way),
                request,
            });
        }
        let events = answer
            .events
            .iter()
            .map(|event| self.event(answer.trace, event));
        messages.extend(events.map(|outgoing| Message {
            outgoing,
            content: Content::Event,
            request,
        }));
        if let Some((reason, rejection)) = answer.dead_letter {
            let outgoing = self.dead_letter(answer.envelope, rejection);
            messages.push(Message {
                outgoing,
                content: Content::DeadLetter(reason),
                request,
            });
        }
    }

    /// Where the producer wants the reply, unless that would bring it back to us as a request.
    fn requester<'e>(&self, envelope: &'e Envelope) -> Option<ReplyAddress<'e>> {
        let would_loop = |name: &str| {
            name == self.topology.request_queue || name == self.topology.dead_letter_queue
        };
        envelope.reply_address().filter(|address| match address {
            ReplyAddress::Queue(name) => {
                !would_loop(name) && !meant_queue(name).is_some_and(|meant| would_loop(&meant))
            }
            // A reply names no address of its own, so what comes of it ends in the result queue.
            ReplyAddress::Direct(_) | ReplyAddress::Topic(_) => true,
        })
    }

    fn reply(
        &self,
        answer: &Answer<'_>,
        reply: &Reply<'_>,
        requester: Option<ReplyAddress<'_>>,
    ) -> Outgoing {
        let id = self.new_id().hex();
        let message = ReplyMessage {
            message_id: id.as_str(),
            body: reply.to_bytes_within(answer.format, self.body_max),
            content_type: answer.format.content_type(),
            error: reply.code().number(),
            timestamp: self.timestamp(),
            request: answer.envelope,
            trace: answer.trace,
        };
        match requester {
            Some(address) => message.for_requester(address),
            None => {
                message.for_result_queue(&self.topology.result_queue, answer.envelope.reply_to())
            }
        }
    }

    fn event(&self, trace: TraceHeaders<'_>, announcement: &Announcement<'_>) -> Outgoing {
        let Announcement {
            id,
            added_at,
            profile,
        } = *announcement;
        let email = profile.email.as_ref().map(Email::address);
        messages::event(
            &self.topology.event_exchange,
            &event::routing_key(profile.db_id),
            &event::message_id(id),
            event::Added::new(profile.db_id, id, email, &profile.subscriptions, added_at)
                .to_json_within(self.body_max),
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
        let mut letter = messages::dead_letter(
            &self.topology.dead_letter_queue,
            self.new_id().to_string(),
            envelope,
            &note,
            envelope.frame_max(),
        );
        letter.cut_body(self.body_max);
        letter
    }

    fn new_id(&self) -> ProfileId {
        self.ids.next(self.now.as_second())
    }

    fn timestamp(&self) -> u64 {
        u64::try_from(self.now.as_second()).unwrap_or(0)
    }
}
