//! Publishing with confirms, a batch at a time.

use std::collections::HashSet;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{MaybeDone, maybe_done};
use lapin::PublisherConfirm;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation};

use super::connection::Connection;
use super::error::{ANSWER_MAX, BrokerError, CONFIRM_MAX, within};
use super::outgoing::{Outgoing, our_id};

/// How long a queue may take to say how many messages it has.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// A channel for publishing. One task uses it, one batch at a time: the client library gives out
/// confirm numbers without a lock, and hands a returned message to whichever confirm comes next.
#[derive(Debug)]
pub struct Publisher {
    channel: Channel,
    connection: Connection,
}

/// What became of a message that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The broker has it safe.
    Confirmed,
    /// The broker sent it back: nobody is behind its routing key.
    Returned,
    /// The broker refused it: a queue is full, or has no leader.
    Refused,
    /// The broker has said nothing yet.
    Unconfirmed,
}

/// What became of a batch.
#[derive(Debug)]
pub enum Published {
    /// The broker has all of it safe.
    Confirmed,
    /// Not all of it.
    Partly {
        /// One for each message, in their order.
        fates: Vec<Fate>,
        /// Those that the broker has said nothing about can be waited for here.
        unconfirmed: Option<Box<Unconfirmed>>,
    },
}

impl Publisher {
    /// Opens a channel with confirms.
    pub async fn open(connection: &Connection) -> Result<Self, BrokerError> {
        Ok(Self {
            channel: with_confirms(connection).await?,
            connection: connection.clone(),
        })
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Goes on with a new channel. A channel that was closed over a message takes no other; one
    /// with messages that are not confirmed can't tell whose a return is. And RabbitMQ remembers
    /// for each channel who leads a quorum queue: one whose first message to it met a leader that
    /// was gone refuses all others as long as that node is away, though there is another leader
    /// since.
    pub async fn renew(&mut self) -> Result<(), BrokerError> {
        self.channel = with_confirms(&self.connection).await?;
        Ok(())
    }

    /// Publishes all messages and waits until the broker has each of them safe, but not for longer
    /// than `patience`, or without one not for longer than a live broker could take. The time in
    /// which the broker lets nobody publish, as it is low on memory or disk, does not count.
    ///
    /// # Errors
    ///
    /// The channel is of no use any more, and which messages the broker has taken is not known. If
    /// the broker closed it, the error says why.
    pub async fn publish<M: AsRef<Outgoing>>(
        &mut self,
        messages: &[M],
        patience: Option<Duration>,
    ) -> Result<Published, BrokerError> {
        if messages.is_empty() {
            return Ok(Published::Confirmed);
        }
        let handed_over = hand_over(&self.channel, messages);
        let handed_over = self.unless_blocked(CONFIRM_MAX, handed_over).await;
        let mut confirms =
            handed_over.ok_or(BrokerError::TimedOut("published messages", CONFIRM_MAX))??;
        let waited = self
            .unless_blocked(patience.unwrap_or(CONFIRM_MAX), confirms.all())
            .await;
        if waited.is_none() && patience.is_none() {
            return Err(BrokerError::TimedOut("published messages", CONFIRM_MAX));
        }
        let mut returns = HashSet::new();
        let mut fates = confirms.take(&mut returns)?;
        if fates.iter().all(|fate| *fate == Fate::Confirmed) && returns.is_empty() {
            return Ok(Published::Confirmed);
        }
        sort_returned(&mut fates, messages, &returns);
        let unconfirmed = if confirms.is_done() {
            None
        } else {
            let ids = messages
                .iter()
                .map(|message| message.as_ref().message_id.as_str().to_owned())
                .collect();
            Some(Box::new(Unconfirmed {
                confirms,
                returns,
                ids,
                _channel: self.channel.clone(),
            }))
        };
        Ok(Published::Partly { fates, unconfirmed })
    }

    /// Whether a queue that has refused a message is full. A quorum queue refuses as well while it
    /// has no leader, for a moment after a node of the cluster is gone; it seems to hold nothing
    /// then, which a full one does not. What we may not look at counts as full: nobody would tell
    /// us when to try again.
    pub async fn is_full(&self, queue: &str) -> Result<bool, BrokerError> {
        let channel = self.connection.channel().await?;
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let look = channel.queue_declare(queue.into(), options, FieldTable::default());
        match within(LOOK_MAX, "looking at a queue", look).await {
            Ok(queue) => Ok(queue.message_count() > 0),
            Err(_) if self.connection.is_open() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Waits for something for so long; `None` if it did not come in time. The time in which the
    /// broker lets nobody publish does not count.
    async fn unless_blocked<T>(
        &self,
        limit: Duration,
        something: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::pin!(something);
        loop {
            match tokio::time::timeout(limit, &mut something).await {
                Ok(done) => return Some(done),
                Err(_) if self.connection.is_blocked() => {}
                Err(_) => return None,
            }
        }
    }
}

/// Messages that were published and not confirmed in time. The channel is theirs alone from now on.
#[derive(Debug)]
pub struct Unconfirmed {
    confirms: Confirms,
    returns: HashSet<String>,
    /// Our own ids of all messages of the batch.
    ids: Vec<String>,
    /// As long as there is this, the channel stays open.
    _channel: Channel,
}

impl Unconfirmed {
    /// Waits for those that were not confirmed, for so long at most; one fate for each message of
    /// the batch that they were a part of, in its order.
    pub async fn settle(mut self, limit: Duration) -> Result<Vec<Fate>, BrokerError> {
        // Whoever is late is told by its fate.
        tokio::time::timeout(limit, self.confirms.all()).await.ok();
        let mut fates = self.confirms.take(&mut self.returns)?;
        for (fate, id) in fates.iter_mut().zip(&self.ids) {
            if *fate == Fate::Confirmed && self.returns.contains(id) {
                *fate = Fate::Returned;
            }
        }
        Ok(fates)
    }
}

/// The confirms of a batch, each at the place of its message.
#[derive(Debug)]
struct Confirms(Vec<MaybeDone<PublisherConfirm>>);

impl Confirms {
    /// Waits for all, and for the last one first: when that one is there the others mostly are. So
    /// the task is woken a few times for a batch and not for each message, as it would be by
    /// `join_all`.
    async fn all(&mut self) {
        // What was taken already must not be waited for again.
        let mut open = self
            .0
            .iter_mut()
            .filter(|confirm| matches!(confirm, MaybeDone::Future(_)));
        if let Some(last) = open.next_back() {
            last.await;
        }
        for confirm in open {
            confirm.await;
        }
    }

    fn is_done(&self) -> bool {
        !self
            .0
            .iter()
            .any(|confirm| matches!(confirm, MaybeDone::Future(_)))
    }

    /// What is known of each by now; those that were taken before count as confirmed.
    fn take(&mut self, returns: &mut HashSet<String>) -> Result<Vec<Fate>, BrokerError> {
        let mut fates = Vec::with_capacity(self.0.len());
        let mut failure: Option<BrokerError> = None;
        for confirm in &mut self.0 {
            if matches!(confirm, MaybeDone::Future(_)) && (&mut *confirm).now_or_never().is_none() {
                fates.push(Fate::Unconfirmed);
                continue;
            }
            match Pin::new(confirm).take_output() {
                Some(Ok(confirmation)) => fates.push(note(confirmation, returns)),
                Some(Err(error)) => {
                    let error = BrokerError::from(error);
                    failure = Some(match failure {
                        Some(earlier) => earlier.or_more_telling(error),
                        None => error,
                    });
                }
                None => fates.push(Fate::Confirmed),
            }
        }
        failure.map_or(Ok(fates), Err)
    }
}

/// A returned message may be attached to any confirm, so it says nothing of this one.
fn note(confirmation: Confirmation, returns: &mut HashSet<String>) -> Fate {
    let (fate, message) = match confirmation {
        Confirmation::Ack(message) => (Fate::Confirmed, message),
        Confirmation::Nack(message) => (Fate::Refused, message),
        // The channel is not in confirm mode, so nothing is known of any message.
        Confirmation::NotRequested => (Fate::Refused, None),
    };
    returns.extend(message.and_then(|message| our_id(&message.delivery.properties)));
    fate
}

/// Which message was returned is told by our own id in it.
fn sort_returned<M: AsRef<Outgoing>>(
    fates: &mut [Fate],
    messages: &[M],
    returns: &HashSet<String>,
) {
    if returns.is_empty() {
        return;
    }
    for (fate, message) in fates.iter_mut().zip(messages) {
        if *fate == Fate::Confirmed && returns.contains(message.as_ref().message_id.as_str()) {
            *fate = Fate::Returned;
        }
    }
}

/// Hands all messages to the library before it waits for any to be written, and then for the last
/// one first.
async fn hand_over<M: AsRef<Outgoing>>(
    channel: &Channel,
    messages: &[M],
) -> Result<Confirms, BrokerError> {
    let each = messages
        .iter()
        .map(|message| maybe_done(Box::pin(send(channel, message.as_ref()))));
    let mut sending: Vec<_> = each.collect();
    sending.iter_mut().for_each(start);
    if let Some(last) = sending.last_mut() {
        last.await;
    }
    let mut confirms = Vec::with_capacity(sending.len());
    let mut failure: Option<BrokerError> = None;
    for mut future in sending {
        (&mut future).await;
        match Pin::new(&mut future).take_output() {
            Some(Ok(confirm)) => confirms.push(maybe_done(confirm)),
            Some(Err(error)) => {
                let error = BrokerError::from(error);
                failure = Some(match failure {
                    Some(earlier) => earlier.or_more_telling(error),
                    None => error,
                });
            }
            None => {}
        }
    }
    match failure {
        None => Ok(Confirms(confirms)),
        // Those that were sent before the channel was closed may have heard why.
        Some(failure) => Err(Confirms(confirms)
            .take(&mut HashSet::new())
            .err()
            .map_or(failure.clone(), |told| told.or_more_telling(failure))),
    }
}

async fn with_confirms(connection: &Connection) -> Result<Channel, BrokerError> {
    let channel = connection.channel().await?;
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    within(ANSWER_MAX, "confirm.select", confirms).await?;
    Ok(channel)
}

/// Resolves when the message is written.
async fn send(channel: &Channel, message: &Outgoing) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions {
        mandatory: message.mandatory,
        immediate: false,
    };
    let (exchange, routing_key) = (message.exchange.clone(), message.routing_key.clone());
    channel
        .basic_publish(
            exchange,
            routing_key,
            options,
            &message.body,
            message.properties(),
        )
        .await
}

/// Lets a future begin. Nobody is told when it can go on; it is waited for later.
fn start<F: Future + Unpin>(future: &mut F) {
    let _pending = Pin::new(future).poll(&mut Context::from_waker(Waker::noop()));
}
