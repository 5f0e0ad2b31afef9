//! What goes where: a reply for every request, an event for every profile that wants one, a dead
//! letter for what can't be read or stored. All of it is confirmed when this is done.

use jiff::Timestamp;
use tracing::warn;

use crate::broker::consumer::Envelope;
use crate::broker::error::BrokerError;
use crate::broker::properties::{self, DeathNote, Outgoing, ReplyMessage};
use crate::broker::publisher::Publisher;
use crate::config::TopologySettings;
use crate::domain::event;
use crate::domain::identity::{IdSource, ProfileId};
use crate::domain::outcome::Rejection;
use crate::domain::profile::NewProfile;
use crate::wire::Format;
use crate::wire::reply::Reply;

/// Everything that is to be said about one request now.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The request.
    pub envelope: &'a Envelope,
    /// Its format, and that of the reply.
    pub format: Format,
    /// The reply, once everything of the request is stored.
    pub reply: Option<Reply<'a>>,
    /// The profiles to be announced.
    pub events: Vec<Announcement<'a>>,
    /// Keep the message for somebody to look at, for this reason.
    pub dead_letter: Option<&'a Rejection>,
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

/// Publishes answers.
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
}

impl Responder<'_> {
    /// Publishes all that is to be said, and waits until the broker has it safe.
    pub async fn respond(&self, publisher: &Publisher, answers: &[Answer<'_>]) -> Result<(), BrokerError> {
        // The replies come first, so that the place of a returned one leads to its request.
        let replies: Vec<_> = answers.iter().filter_map(|answer| Some((answer, answer.reply.as_ref()?))).collect();
        let mut messages = Vec::with_capacity(answers.len() * 2);
        messages.extend(replies.iter().map(|(answer, reply)| self.reply(answer, reply)));
        for answer in answers {
            messages.extend(answer.events.iter().map(|event| self.event(answer.envelope, event)));
            messages.extend(answer.dead_letter.map(|rejection| self.dead_letter(answer.envelope, rejection)));
        }
        let returned = publisher.publish(&messages).await?;
        if returned.is_empty() {
            return Ok(());
        }
        let mut again = Vec::with_capacity(returned.len());
        for place in returned {
            let returned = replies.get(place);
            let Some((answer, reply, requester)) =
                returned.and_then(|(answer, reply)| Some((answer, reply, self.requester(answer.envelope)?)))
            else {
                return Err(BrokerError::Unroutable(messages[place].destination().to_owned()));
            };
            let reply = self.reply_message(answer, reply);
            again.push(reply.to_result_queue(&self.topology.result_queue, Some(requester)));
        }
        warn!(
            replies = again.len(),
            queue = self.topology.result_queue,
            "nobody is behind the reply_to of some requests, or the queue there is full; their replies went to the result queue"
        );
        if publisher.publish(&again).await?.is_empty() {
            Ok(())
        } else {
            Err(BrokerError::Unroutable(self.topology.result_queue.clone()))
        }
    }

    /// Where the producer wants the reply, unless that would bring it back to us as a request.
    fn requester<'e>(&self, envelope: &'e Envelope) -> Option<&'e str> {
        let would_loop = |name: &str| name == self.topology.request_queue || name == self.topology.dead_letter_queue;
        envelope.reply_to().filter(|name| !would_loop(name))
    }

    fn reply(&self, answer: &Answer<'_>, reply: &Reply<'_>) -> Outgoing {
        let message = self.reply_message(answer, reply);
        match self.requester(answer.envelope) {
            Some(reply_to) => message.to_requester(reply_to),
            None => message.to_result_queue(&self.topology.result_queue, answer.envelope.reply_to()),
        }
    }

    fn reply_message<'e>(&self, answer: &Answer<'e>, reply: &Reply<'_>) -> ReplyMessage<'e> {
        ReplyMessage {
            message_id: self.message_id(),
            body: reply.to_bytes(answer.format),
            content_type: answer.format.content_type(),
            error: reply.code().number(),
            timestamp: self.timestamp(),
            request: answer.envelope,
        }
    }

    fn event(&self, envelope: &Envelope, announcement: &Announcement<'_>) -> Outgoing {
        let Announcement { id, added_at, profile } = *announcement;
        let email = profile.email.as_deref();
        properties::event(
            &self.topology.event_exchange,
            event::routing_key(profile.db_id),
            event::message_id(id),
            event::Added::new(profile.db_id, id, email, &profile.subscriptions, added_at).to_json(),
            self.timestamp(),
            envelope,
        )
    }

    fn dead_letter(&self, envelope: &Envelope, rejection: &Rejection) -> Outgoing {
        let note = DeathNote {
            error: rejection.code.number(),
            error_text: &rejection.text,
            timestamp: self.timestamp(),
            worker: self.worker,
        };
        properties::dead_letter(&self.topology.dead_letter_queue, self.message_id(), envelope, &note)
    }

    fn message_id(&self) -> String {
        self.ids.next(self.now.as_second()).to_string()
    }

    fn timestamp(&self) -> u64 {
        u64::try_from(self.now.as_second()).unwrap_or(0)
    }
}
