//! Publishing with confirms, a batch at a time.

mod confirms;
mod hand_over;

use std::collections::HashSet;
use std::time::Duration;

use lapin::Channel;
use lapin::options::{ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use self::confirms::sort_returned;
pub(crate) use self::confirms::{Fate, Unconfirmed};
use self::hand_over::hand_over;
use super::connection::Connection;
use super::error::{ANSWER_MAX, BrokerError, CONFIRM_MAX, within};
use super::outgoing::Outgoing;

/// How long a queue may take to say how many messages it has.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// A channel for publishing. One task uses it, one batch at a time: the client library gives out
/// confirm numbers without a lock, and hands a returned message to whichever confirm comes next.
#[derive(Debug)]
pub struct Publisher {
    channel: Channel,
    connection: Connection,
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

async fn with_confirms(connection: &Connection) -> Result<Channel, BrokerError> {
    let channel = connection.channel().await?;
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    within(ANSWER_MAX, "confirm.select", confirms).await?;
    Ok(channel)
}
