//! How a lane says what is to be said: each message over the channel for its kind, all at once, and
//! with a patience that ends. What the broker does not take by then is left for others to deliver.

mod outcome;
mod sorting;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::outcome::Unpublished;
use self::outcome::{Attempt, Sorting};
use super::compose::Message;
use super::context::Context;
use super::counts::Counts;
use super::destinations::Known;
use super::publishing_connections::PublishingConnections;
use crate::broker::error::BrokerError;
use crate::broker::outgoing::Route;
use crate::broker::publisher::{Published, Publisher};
use crate::broker::setup;

/// How long a lane waits for the confirms of a batch. A broker that is well takes milliseconds;
/// what takes longer is one queue's trouble, and waits beside the lanes.
const PATIENCE: Duration = Duration::from_millis(800);

/// The channels that a lane publishes on.
#[derive(Debug)]
pub(crate) struct LanePublisher {
    context: Arc<Context>,
    connections: Arc<PublishingConnections>,
    /// To our own queues and exchange.
    own: Publisher,
    /// To the queues that requests name.
    requesters: Publisher,
    /// To addresses that the broker interprets; opened when the first one comes.
    interpreted: Option<Publisher>,
}

/// What is to be published, by the channel.
#[derive(Default)]
struct Routed {
    own: Vec<Message>,
    requesters: Vec<Message>,
    interpreted: Vec<Message>,
}

impl LanePublisher {
    /// Opens the channels.
    pub(crate) async fn open(
        context: &Arc<Context>,
        connections: &Arc<PublishingConnections>,
    ) -> Result<Self, BrokerError> {
        let own = Publisher::open(&connections.publishing).await?;
        let requesters = Publisher::open(&connections.publishing).await?;
        Ok(Self {
            context: context.clone(),
            connections: connections.clone(),
            own,
            requesters,
            interpreted: None,
        })
    }

    /// Publishes, and waits for the broker's confirms. A reply that its requester does not get goes
    /// to the result queue. What is left is not confirmed, and `counts` has counted the rest.
    pub(super) async fn publish(
        &mut self,
        messages: Vec<Message>,
        counts: &mut Counts,
    ) -> Result<Vec<Unpublished>, BrokerError> {
        self.ask_about_sizes(&messages).await?;
        let mut sorting = Sorting {
            counts,
            left: Vec::new(),
            open: messages,
        };
        // Again for replies that came back: to the queue that is meant, and to the result queue.
        while !sorting.open.is_empty() {
            let open = std::mem::take(&mut sorting.open);
            let Routed {
                own,
                requesters,
                interpreted,
            } = self.route(open, &mut sorting.left);
            // Each over its own channel, so that an address of one cannot cost the others theirs.
            let (own, requesters, interpreted) = tokio::join!(
                publish(&mut self.own, own),
                publish(&mut self.requesters, requesters),
                publish_interpreted(&mut self.interpreted, &self.connections, interpreted),
            );
            self.sort_own(own, &mut sorting).await?;
            self.sort_requesters(requesters, &mut sorting).await?;
            self.sort_interpreted(interpreted, &mut sorting);
        }
        Ok(sorting.left)
    }

    /// A broker that takes no message of the size of ours closes the channel; it is asked before.
    async fn ask_about_sizes(&self, messages: &[Message]) -> Result<(), BrokerError> {
        let largest = messages
            .iter()
            .map(|message| message.outgoing.body_size())
            .max()
            .unwrap_or(0);
        let size = &self.context.size_limit;
        let Some(bytes) = size.to_ask(largest) else {
            return if largest > size.limit() {
                Err(BrokerError::TooLarge(size.limit()))
            } else {
                Ok(())
            };
        };
        match setup::check_size(
            &self.connections.publishing,
            &self.context.config.topology,
            bytes,
        )
        .await
        {
            Ok(()) => size.takes(bytes),
            Err(BrokerError::TooLarge(limit)) => size.learn(limit),
            Err(error) => return Err(error),
        }
        if largest > size.limit() {
            Err(BrokerError::TooLarge(size.limit()))
        } else {
            Ok(())
        }
    }

    /// Each message to its channel; those whose destination is known to be slow are left.
    fn route(&self, messages: Vec<Message>, left: &mut Vec<Unpublished>) -> Routed {
        let result_queue = &self.context.config.topology.result_queue;
        let mut routed = Routed::default();
        for mut message in messages {
            let mut known = self
                .context
                .destinations
                .look_for(&message.outgoing, result_queue);
            if known == Some(Known::Refuses) && message.redirect(result_queue) {
                known = None;
            }
            // Its id may still be one that others are to be kept from.
            match message.outgoing.route(result_queue) {
                Route::Alone => left.push(Unpublished::Alone(message)),
                _ if known.is_some() => left.push(Unpublished::Refused(message)),
                Route::Own => routed.own.push(message),
                Route::Requester => routed.requesters.push(message),
                Route::Interpreted => routed.interpreted.push(message),
            }
        }
        routed
    }

    fn learn(&self, error: BrokerError) -> BrokerError {
        if let BrokerError::TooLarge(limit) = error {
            self.context.size_limit.learn(limit);
        }
        error
    }

    /// After a message that was larger than the broker takes the channels are closed.
    pub(crate) async fn renew(&mut self) -> Result<(), BrokerError> {
        self.own.renew().await?;
        self.requesters.renew().await
    }
}

async fn publish(publisher: &mut Publisher, messages: Vec<Message>) -> Attempt {
    let published = publisher.publish(&messages, Some(PATIENCE)).await;
    (messages, published)
}

async fn publish_interpreted(
    publisher: &mut Option<Publisher>,
    connections: &PublishingConnections,
    messages: Vec<Message>,
) -> Attempt {
    if messages.is_empty() {
        return (messages, Ok(Published::Confirmed));
    }
    let opened = match publisher {
        Some(publisher) => publisher,
        None => match connections.interpreted.publisher().await {
            Ok(opened) => publisher.insert(opened),
            Err(error) => return (messages, Err(error)),
        },
    };
    publish(opened, messages).await
}
