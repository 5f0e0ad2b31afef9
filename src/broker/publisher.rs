//! Publishing with confirms, a batch at a time.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

use futures_util::future::maybe_done;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation};

use super::connection::Connection;
use super::error::{ANSWER_MAX, BrokerError, CONFIRM_MAX, within};
use super::outgoing::{Outgoing, our_id};

/// Of so many queues it is remembered that they take nothing.
const GIVEN_UP_MAX: usize = 1000;

/// A channel for publishing. One task uses it, one batch at a time: the client library gives out
/// confirm numbers without a lock.
#[derive(Debug)]
pub struct Publisher {
    channel: Mutex<Channel>,
    /// Queues that refused for so long that nobody waits for them any more.
    given_up: Mutex<HashSet<String>>,
    connection: Connection,
}

impl Publisher {
    /// Opens a channel with confirms.
    pub async fn open(connection: &Connection) -> Result<Self, BrokerError> {
        let channel = Mutex::new(with_confirms(connection).await?);
        Ok(Self { channel, given_up: Mutex::default(), connection: connection.clone() })
    }

    /// Goes on with a new channel. RabbitMQ remembers for each channel who leads a quorum queue, and one
    /// whose first message to it met a leader that was gone refuses all others as long as that node is
    /// away, though there is another leader since.
    pub async fn renew(&self) -> Result<(), BrokerError> {
        let new = with_confirms(&self.connection).await?;
        let old = std::mem::replace(&mut *self.channel.lock().unwrap_or_else(PoisonError::into_inner), new);
        let closing = old.close(200, "renewed".into());
        within(ANSWER_MAX, "closing a channel", closing).await
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Publishes all messages and waits until the broker has each of them safe. The result tells of
    /// those that it has not, in their order. A broker that is low on memory or disk takes nothing;
    /// that is waited out.
    ///
    /// Which message was returned is told by our own id in it, never by the confirm that happened
    /// to carry it: the library hands a return to whichever confirm completes next.
    pub async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Loss>, BrokerError> {
        let Losses { returned, refused } = self.unless_blocked(self.send_all(messages)).await?;
        if returned.is_empty() && refused.is_empty() {
            return Ok(Vec::new());
        }
        let loss = |(place, message): (usize, &Outgoing)| {
            if refused.contains(&place) {
                Some(Loss { place, is_refused: true })
            } else {
                returned.contains(message.message_id.as_str()).then_some(Loss { place, is_refused: false })
            }
        };
        Ok(messages.iter().enumerate().filter_map(loss).collect())
    }

    /// A queue refuses for too long: from now on it counts as full.
    pub fn give_up_on(&self, queue: &str) {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        if given_up.len() < GIVEN_UP_MAX {
            given_up.insert(queue.to_owned());
        }
    }

    /// Whether a queue that has refused a message is full. A quorum queue refuses as well while it has no
    /// leader, for a moment after a node of the cluster is gone; it seems to hold nothing then, which a
    /// full one does not. What we may not look at counts as full: nobody would tell us when to try again.
    pub async fn is_full(&self, queue: &str) -> Result<bool, BrokerError> {
        if self.given_up.lock().unwrap_or_else(PoisonError::into_inner).contains(queue) {
            return Ok(true);
        }
        let channel = self.connection.channel().await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let look = channel.queue_declare(queue.into(), options, FieldTable::default());
        match within(ANSWER_MAX, "looking at a queue", look).await {
            Ok(queue) => Ok(queue.message_count() > 0),
            Err(_) if self.connection.is_open() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Waits for confirms. The time in which the broker lets nobody publish does not count.
    async fn unless_blocked<T>(
        &self,
        confirms: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        tokio::pin!(confirms);
        loop {
            let confirmed = within(CONFIRM_MAX, "published messages", &mut confirms).await;
            match confirmed {
                Err(BrokerError::TimedOut(..)) if self.connection.is_blocked() => {
                    tracing::warn!("RabbitMQ is low on memory or disk and takes no messages; requests are held");
                }
                confirmed => return confirmed,
            }
        }
    }

    /// Hands all messages to the library before it waits for any, and then for the last one first:
    /// when that one is done the others mostly are. So the task is woken a few times for a batch
    /// and not for each message, as it would be by `join_all`.
    async fn send_all(&self, messages: &[Outgoing]) -> Result<Losses, BrokerError> {
        let (large, small): (Vec<_>, Vec<_>) =
            messages.iter().enumerate().partition(|(_, message)| message.has_large_headers());
        let channel = self.channel();
        let each = small.into_iter().map(|(place, message)| (place, maybe_done(Box::pin(send(&channel, message)))));
        let mut sending: Vec<_> = each.collect();
        sending.iter_mut().for_each(|(_, future)| start(future));
        if let Some((_, last)) = sending.last_mut() {
            last.await;
        }
        let mut losses = Losses::default();
        for (place, mut future) in sending {
            (&mut future).await;
            if let Some(confirmation) = Pin::new(&mut future).take_output() {
                losses.note(place, confirmation?);
            }
        }
        if !large.is_empty() {
            self.send_apart(large, &mut losses).await?;
        }
        Ok(losses)
    }

    /// Sends what does not fit into the frames of our connection over one that is made for it: dead
    /// letters of messages with headers that nobody expects.
    async fn send_apart(&self, messages: Vec<(usize, &Outgoing)>, losses: &mut Losses) -> Result<(), BrokerError> {
        let connection = self.connection.with_large_frames().await?;
        let publisher = Self::open(&connection).await?;
        let channel = publisher.channel();
        for (place, message) in messages {
            losses.note(place, send(&channel, message).await?);
        }
        connection.close().await;
        Ok(())
    }
}

async fn with_confirms(connection: &Connection) -> Result<Channel, BrokerError> {
    let channel = connection.channel().await?;
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    within(ANSWER_MAX, "confirm.select", confirms).await?;
    Ok(channel)
}

/// Resolves when the broker has the message.
async fn send(channel: &Channel, message: &Outgoing) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions { mandatory: message.mandatory, immediate: false };
    let (exchange, routing_key) = (message.exchange.clone(), message.routing_key.clone());
    let publishing = channel.basic_publish(exchange, routing_key, options, &message.body, message.properties());
    publishing.await?.await
}

/// A message that the broker has not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Its place among those that were published.
    pub place: usize,
    /// Refused, as a queue is full or has no leader; otherwise returned, as nobody is behind its routing key.
    pub is_refused: bool,
}

/// What the broker has not taken of a batch.
#[derive(Default)]
struct Losses {
    /// Our own ids of the messages that it sent back.
    returned: HashSet<String>,
    /// The places of those that it refused.
    refused: HashSet<usize>,
}

impl Losses {
    fn note(&mut self, place: usize, confirmation: Confirmation) {
        // A returned message may be attached to any confirm, so it says nothing of this place.
        let message = match confirmation {
            Confirmation::Ack(message) => message,
            Confirmation::Nack(message) => {
                self.refused.insert(place);
                message
            }
            // The channel is not in confirm mode, so nothing is known of any message.
            Confirmation::NotRequested => {
                self.refused.insert(place);
                None
            }
        };
        self.returned.extend(message.and_then(|message| our_id(&message.delivery.properties)));
    }
}

/// Lets a future begin. Nobody is told when it can go on; it is waited for later.
fn start<F: Future + Unpin>(future: &mut F) {
    let _pending = Pin::new(future).poll(&mut Context::from_waker(Waker::noop()));
}
