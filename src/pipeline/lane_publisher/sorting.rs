//! What becomes of what was published: counted, published again elsewhere, or left for others.

use tracing::{debug, warn};

use super::LanePublisher;
use super::outcome::{Attempt, Sorting, Unpublished};
use crate::broker::error::BrokerError;
use crate::broker::publisher::{Fate, Published};
use crate::pipeline::compose::Message;
use crate::pipeline::destinations::{Destination, Known};

impl LanePublisher {
    pub(super) async fn sort_own(
        &mut self,
        (messages, published): Attempt,
        sorting: &mut Sorting<'_>,
    ) -> Result<(), BrokerError> {
        let returned = match published {
            Ok(published) => {
                let (returned, is_late) = self.sort(messages, published, sorting);
                if is_late {
                    self.own.renew().await?;
                }
                returned
            }
            Err(BrokerError::RefusedTopic { routing_key, text }) => {
                warn!(
                    "RabbitMQ refuses events with the routing key {routing_key}; those wait beside the others: {text}"
                );
                let topology = &self.context.config.topology;
                self.context.destinations.remember(
                    Destination::Event {
                        exchange: topology.event_exchange.clone(),
                        routing_key,
                    },
                    Known::Slow,
                );
                self.own.renew().await?;
                // Which of them the broker has taken is not known.
                sorting.open.extend(messages);
                return Ok(());
            }
            Err(error) => return Err(self.learn(error)),
        };
        match returned.first() {
            Some(message) => Err(BrokerError::Unroutable(
                message.outgoing.routing_key().to_owned(),
            )),
            None => Ok(()),
        }
    }

    pub(super) async fn sort_requesters(
        &mut self,
        (messages, published): Attempt,
        sorting: &mut Sorting<'_>,
    ) -> Result<(), BrokerError> {
        let published = published.map_err(|error| self.learn(error))?;
        let (returned, is_late) = self.sort(messages, published, sorting);
        if is_late {
            self.requesters.renew().await?;
        }
        self.redirect(returned, &mut sorting.open);
        Ok(())
    }

    /// If the connection was lost, one of them may have cost it: each is published alone.
    pub(super) fn sort_interpreted(
        &mut self,
        (messages, published): Attempt,
        sorting: &mut Sorting<'_>,
    ) {
        let returned = match published {
            Ok(published) => {
                let (returned, is_late) = self.sort(messages, published, sorting);
                if is_late {
                    self.interpreted = None;
                }
                returned
            }
            Err(error) => {
                debug!(%error, "replies to addresses that the broker interprets are published one by one");
                self.interpreted = None;
                sorting
                    .left
                    .extend(messages.into_iter().map(Unpublished::Alone));
                return;
            }
        };
        self.redirect(returned, &mut sorting.open);
    }

    /// Counts what is confirmed; returns what came back, and whether something is late.
    fn sort(
        &self,
        messages: Vec<Message>,
        published: Published,
        sorting: &mut Sorting<'_>,
    ) -> (Vec<Message>, bool) {
        let Published::Partly { fates, unconfirmed } = published else {
            messages
                .iter()
                .for_each(|message| sorting.counts.confirmed(message.content));
            return (Vec::new(), false);
        };
        let result_queue = &self.context.config.topology.result_queue;
        let (mut returned, mut late) = (Vec::new(), Vec::new());
        for (index, (message, fate)) in messages.into_iter().zip(fates).enumerate() {
            match fate {
                Fate::Confirmed => sorting.counts.confirmed(message.content),
                Fate::Returned => returned.push(message),
                Fate::Refused => sorting.left.push(Unpublished::Refused(message)),
                Fate::Unconfirmed => {
                    let destination = Destination::of(&message.outgoing, result_queue);
                    self.context.destinations.remember(destination, Known::Slow);
                    late.push((index, message));
                }
            }
        }
        let is_late = unconfirmed
            .map(|unconfirmed| sorting.left.push(Unpublished::Late(unconfirmed, late)))
            .is_some();
        (returned, is_late)
    }

    /// Replies that came back go to the queue that their address means, or to the result queue.
    fn redirect(&self, returned: Vec<Message>, open: &mut Vec<Message>) {
        let recorder = &self.context.recorder;
        let result_queue = &self.context.config.topology.result_queue;
        let mut lost = 0;
        open.extend(returned.into_iter().map(|mut message| {
            if !message.readdress(result_queue) {
                message.redirect(result_queue);
                lost += 1;
            }
            message
        }));
        if lost > 0
            && let Some(replies) = recorder.returned.happened(lost)
        {
            warn!(
                replies,
                queue = result_queue,
                "nobody is behind the reply_to of some requests; their replies go to the result queue"
            );
        }
    }
}
