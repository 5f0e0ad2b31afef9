//! Publishing with confirms, a batch at a time.

use std::collections::HashSet;

use futures_util::future::try_join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};

use super::connection::Connection;
use super::error::{ANSWER_MAX, BrokerError, CONFIRM_MAX, within};
use super::properties::{Outgoing, our_id};

/// A channel for publishing. One task uses it, one batch at a time: the client library gives out
/// confirm numbers without a lock.
#[derive(Debug)]
pub struct Publisher {
    channel: Channel,
}

impl Publisher {
    /// Opens a channel with confirms.
    pub async fn open(connection: &Connection) -> Result<Self, BrokerError> {
        let channel = connection.channel().await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        within(ANSWER_MAX, "confirm.select", confirms).await?;
        Ok(Self { channel })
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Publishes all messages and waits until the broker has each of them safe. The result holds
    /// the places of those that it has not: returned, as nobody is behind their queue, or refused,
    /// as a queue is full.
    ///
    /// Which message was returned is told by our own id in it, never by the confirm that happened
    /// to carry it: the library hands a return to whichever confirm completes next.
    pub async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<usize>, BrokerError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let sent = try_join_all(messages.iter().map(|message| self.send(message)));
        let confirms = within(CONFIRM_MAX, "publish", sent).await?;
        let confirmed = try_join_all(confirms);
        let mut returned = HashSet::new();
        let mut refused = HashSet::new();
        let confirmations: Vec<Confirmation> = within(CONFIRM_MAX, "published messages", confirmed).await?;
        for (place, confirmation) in confirmations.into_iter().enumerate() {
            let message = match confirmation {
                Confirmation::Ack(message) => message,
                Confirmation::Nack(message) => {
                    refused.insert(place);
                    message
                }
                Confirmation::NotRequested => return Err(BrokerError::Nacked),
            };
            returned.extend(message.and_then(|message| our_id(&message.delivery.properties)));
        }
        if returned.is_empty() && refused.is_empty() {
            return Ok(Vec::new());
        }
        let is_lost =
            |(place, message): &(usize, &Outgoing)| refused.contains(place) || returned.contains(&message.message_id);
        Ok(messages.iter().enumerate().filter(is_lost).map(|(place, _)| place).collect())
    }

    /// Resolves when the message is on its way; the result resolves when the broker has it.
    async fn send(
        &self,
        message: &Outgoing,
    ) -> lapin::Result<impl Future<Output = lapin::Result<Confirmation>> + use<>> {
        let options = BasicPublishOptions { mandatory: message.mandatory, immediate: false };
        self.channel
            .basic_publish(
                message.exchange.as_str().into(),
                message.routing_key.as_str().into(),
                options,
                &message.body,
                message.properties.clone(),
            )
            .await
    }
}
