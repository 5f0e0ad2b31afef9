//! What goes where: a reply for every request, an event for every profile that wants one, a dead
//! letter for what can't be read or stored. All of it is confirmed when this is done.

use jiff::Timestamp;
use tracing::warn;

use super::decide::Decision;
use crate::broker::consumer::Envelope;
use crate::broker::error::BrokerError;
use crate::broker::properties::{self, DeathNote, Outgoing, ReplyMessage};
use crate::broker::publisher::Publisher;
use crate::config::TopologySettings;
use crate::domain::event;
use crate::domain::identity::{IdSource, ProfileId};
use crate::domain::outcome::Rejection;
use crate::domain::profile::NewProfile;
use crate::domain::subscription::Skipped;
use crate::wire::reply::{Reply, Success};

/// Everything that is to be said about one request.
#[derive(Debug)]
pub struct Answer<'a> {
    /// What the reply says.
    pub result: Result<Addressed<'a>, Rejection>,
    /// To be echoed.
    pub feedback_id: Option<&'a str>,
    /// Keep the message for somebody to look at.
    pub dead_letter: bool,
}

/// A profile that stands in the database.
#[derive(Debug)]
pub struct Addressed<'a> {
    /// Its id there.
    pub id: ProfileId,
    /// When it was added.
    pub added_at: Timestamp,
    /// What it holds.
    pub profile: &'a NewProfile<'a>,
    /// The subscriptions that were dropped.
    pub skipped: &'a [Skipped],
    /// Publish no trigger event.
    pub skip_triggers: bool,
}

impl<'a> Answer<'a> {
    /// "No", with the feedback id of a decision.
    pub fn refusal(decision: &'a Decision<'_>, rejection: Rejection, dead_letter: bool) -> Self {
        Self { result: Err(rejection), feedback_id: decision.feedback_id.as_deref(), dead_letter }
    }
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
    /// Publishes all that is to be said about a batch, and waits until the broker has it safe.
    pub async fn respond(
        &self,
        publisher: &Publisher,
        envelopes: &[Envelope],
        answers: &[Answer<'_>],
    ) -> Result<(), BrokerError> {
        // The replies come first: the place of a reply is that of its request.
        let mut messages = Vec::with_capacity(envelopes.len() * 2);
        for (envelope, answer) in envelopes.iter().zip(answers) {
            messages.push(self.reply(envelope, answer));
        }
        for (envelope, answer) in envelopes.iter().zip(answers) {
            messages.extend(self.event(envelope, answer));
            messages.extend(self.dead_letter(envelope, answer));
        }
        let returned = publisher.publish(&messages).await?;
        if returned.is_empty() {
            return Ok(());
        }
        let mut again = Vec::with_capacity(returned.len());
        for place in returned {
            let lost_requester = envelopes.get(place).and_then(|envelope| self.requester(envelope));
            let Some(requester) = lost_requester else {
                return Err(BrokerError::Unroutable(messages[place].destination().to_owned()));
            };
            let reply = self.reply_message(&envelopes[place], &answers[place]);
            again.push(reply.to_result_queue(&self.topology.result_queue, Some(requester)));
        }
        warn!(
            replies = again.len(),
            queue = self.topology.result_queue,
            "nobody is behind the reply_to of some requests; their replies went to the result queue"
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

    fn reply(&self, envelope: &Envelope, answer: &Answer<'_>) -> Outgoing {
        let message = self.reply_message(envelope, answer);
        match self.requester(envelope) {
            Some(reply_to) => message.to_requester(reply_to),
            None => message.to_result_queue(&self.topology.result_queue, envelope.reply_to()),
        }
    }

    fn reply_message<'e>(&self, envelope: &'e Envelope, answer: &Answer<'_>) -> ReplyMessage<'e> {
        let result = answer.result.as_ref().map(|added| Success { profile_id: added.id, skipped: added.skipped });
        let reply = Reply { result, feedback_id: answer.feedback_id };
        ReplyMessage {
            message_id: self.message_id(),
            body: reply.to_json(),
            content_type: "application/json",
            error: reply.code().number(),
            timestamp: self.timestamp(),
            request: envelope,
        }
    }

    fn event(&self, envelope: &Envelope, answer: &Answer<'_>) -> Option<Outgoing> {
        let added = answer.result.as_ref().ok().filter(|added| !added.skip_triggers)?;
        let profile = added.profile;
        let email = profile.email.as_deref();
        let body = event::Added::new(profile.db_id, added.id, email, &profile.subscriptions, added.added_at).to_json();
        Some(properties::event(
            &self.topology.event_exchange,
            event::routing_key(profile.db_id),
            event::message_id(added.id),
            body,
            self.timestamp(),
            envelope,
        ))
    }

    fn dead_letter(&self, envelope: &Envelope, answer: &Answer<'_>) -> Option<Outgoing> {
        let rejection = answer.result.as_ref().err().filter(|_| answer.dead_letter)?;
        let note = DeathNote {
            error: rejection.code.number(),
            error_text: &rejection.text,
            timestamp: self.timestamp(),
            worker: self.worker,
        };
        Some(properties::dead_letter(&self.topology.dead_letter_queue, self.message_id(), envelope, &note))
    }

    fn message_id(&self) -> String {
        self.ids.next(self.now.as_second()).to_string()
    }

    fn timestamp(&self) -> u64 {
        u64::try_from(self.now.as_second()).unwrap_or(0)
    }
}
