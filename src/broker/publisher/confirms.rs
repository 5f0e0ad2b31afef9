//! What the broker says of what was published: confirms, refusals and returns.

use std::collections::HashSet;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{MaybeDone, maybe_done};
use lapin::{Channel, Confirmation, PublisherConfirm};

use crate::broker::error::BrokerError;
use crate::broker::outgoing::Outgoing;
use crate::broker::outgoing_properties::our_id;

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

/// Messages that were published and not confirmed in time. The channel is theirs alone from now on.
#[derive(Debug)]
pub struct Unconfirmed {
    pub(super) confirms: Confirms,
    pub(super) returns: HashSet<String>,
    /// Our own ids of all messages of the batch.
    pub(super) ids: Vec<String>,
    /// As long as there is this, the channel stays open.
    pub(super) _channel: Channel,
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

/// The confirms of a batch, in the order of its messages.
#[derive(Debug)]
pub(super) struct Confirms(Vec<MaybeDone<PublisherConfirm>>);

impl Confirms {
    /// Those of a batch that was handed over.
    pub(super) fn new(confirms: Vec<PublisherConfirm>) -> Self {
        Self(confirms.into_iter().map(maybe_done).collect())
    }

    /// Waits for all, and for the last one first: when that one is there the others mostly are. So
    /// the task is woken a few times for a batch and not for each message, as it would be by
    /// `join_all`.
    pub(super) async fn all(&mut self) {
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

    pub(super) fn is_done(&self) -> bool {
        !self
            .0
            .iter()
            .any(|confirm| matches!(confirm, MaybeDone::Future(_)))
    }

    /// What is known of each by now; those that were taken before count as confirmed.
    pub(super) fn take(&mut self, returns: &mut HashSet<String>) -> Result<Vec<Fate>, BrokerError> {
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

/// Marks what was returned: our own id in it tells which message it is.
pub(super) fn sort_returned<M: AsRef<Outgoing>>(
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

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;

    fn message(id: &str) -> Outgoing {
        Outgoing::other("queue", id, Vec::new(), BasicProperties::default())
    }

    #[test]
    fn a_returned_message_is_found_by_our_own_id_whichever_confirm_it_came_with() {
        let messages = [message("a"), message("b"), message("c"), message("d")];
        let mut fates = [
            Fate::Confirmed,
            Fate::Confirmed,
            Fate::Refused,
            Fate::Unconfirmed,
        ];
        let returns = HashSet::from(["b".to_owned(), "c".to_owned()]);
        sort_returned(&mut fates, &messages, &returns);
        assert_eq!(
            fates,
            [
                Fate::Confirmed,
                Fate::Returned,
                // The broker has said more of it than that.
                Fate::Refused,
                Fate::Unconfirmed,
            ]
        );
    }

    #[test]
    fn a_confirm_says_of_its_own_message_whether_the_broker_has_it() {
        let mut returns = HashSet::new();
        assert_eq!(note(Confirmation::Ack(None), &mut returns), Fate::Confirmed);
        assert_eq!(note(Confirmation::Nack(None), &mut returns), Fate::Refused);
        let unknown = note(Confirmation::NotRequested, &mut returns);
        assert_eq!(unknown, Fate::Refused);
        assert!(returns.is_empty());
    }

    #[tokio::test]
    async fn no_message_needs_no_confirm() {
        let mut confirms = Confirms::new(Vec::new());
        confirms.all().await;
        assert!(confirms.is_done());
        let fates = confirms.take(&mut HashSet::new()).expect("nothing failed");
        assert!(fates.is_empty());
    }
}
