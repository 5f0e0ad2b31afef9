//! Writing a batch: all messages at once, and few wake-ups.

use std::collections::HashSet;
use std::pin::Pin;
use std::task::{Context, Waker};

use futures_util::future::maybe_done;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, PublisherConfirm};

use super::confirms::Confirms;
use crate::broker::error::BrokerError;
use crate::broker::outgoing::Outgoing;

/// Hands all messages to the library before it waits for any to be written, and then for the last
/// one first.
pub(super) async fn hand_over<M: AsRef<Outgoing>>(
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
            Some(Ok(confirm)) => confirms.push(confirm),
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
        None => Ok(Confirms::new(confirms)),
        // Those that were sent before the channel was closed may have heard why.
        Some(failure) => Err(Confirms::new(confirms)
            .take(&mut HashSet::new())
            .err()
            .map_or(failure.clone(), |told| told.or_more_telling(failure))),
    }
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
