//! One of the channels that requests come over: asking for them, and asking for no more.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use lapin::Consumer;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;

use crate::broker::acks::SingleAcks;
use crate::broker::connection::Connection;
use crate::broker::consumer_channel::ConsumerChannel;
use crate::broker::error::{ANSWER_MAX, BrokerError, within};

/// More a quorum queue does not allow to a channel.
const PREFETCH_MAX: u16 = 2000;

type Pausing = Pin<Box<dyn Future<Output = lapin::Result<()>> + Send>>;

/// One of the channels that requests come over.
pub(super) struct Slot {
    pub(super) consumer_channel: Arc<ConsumerChannel>,
    /// None while nothing is asked for over it.
    pub(super) stream: Option<Consumer>,
    /// That nothing more is asked for is on its way to the broker.
    pausing: Option<Pausing>,
}

impl Slot {
    pub(super) async fn open(
        connection: &Connection,
        single_acks: &Arc<Mutex<SingleAcks>>,
    ) -> Result<Self, BrokerError> {
        let consumer_channel = Arc::new(ConsumerChannel::new(
            connection.channel().await?,
            single_acks.clone(),
        ));
        Ok(Self {
            consumer_channel,
            stream: None,
            pausing: None,
        })
    }

    /// Asks for so many requests at a time, and for as many more as wait beside the lanes.
    pub(super) async fn ask(&mut self, queue: &str, prefetch: u16) -> Result<(), BrokerError> {
        let deferred = u16::try_from(self.consumer_channel.deferred()).unwrap_or(u16::MAX);
        let prefetch = prefetch.saturating_add(deferred).min(PREFETCH_MAX);
        let channel = &self.consumer_channel.channel;
        // Before the subscription: the library keeps deliveries in a queue that has no other bound.
        let qos = channel.basic_qos(prefetch, BasicQosOptions { global: false });
        within(ANSWER_MAX, "qos", qos).await?;
        let consuming = channel.basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let consuming = within(ANSWER_MAX, "consume", consuming).await;
        self.stream = Some(consuming.map_err(|error| explain(error, queue))?);
        Ok(())
    }

    /// Asks for nothing more. What is on its way still comes; the broker's answer is not waited
    /// for.
    pub(super) fn pause(&mut self) -> Result<(), BrokerError> {
        let Some(stream) = &self.stream else {
            return Ok(());
        };
        if self.pausing.is_some() {
            return Ok(());
        }
        let (channel, tag) = (self.consumer_channel.channel.clone(), stream.tag());
        let cancel = async move {
            channel
                .basic_cancel(tag, BasicCancelOptions::default())
                .await
        };
        let mut cancel: Pausing = Box::pin(cancel);
        match (&mut cancel).now_or_never() {
            Some(done) => done?,
            None => self.pausing = Some(cancel),
        }
        Ok(())
    }

    /// The stream has ended.
    pub(super) fn ended(&mut self) {
        (self.stream, self.pausing) = (None, None);
    }
}

fn explain(error: BrokerError, queue: &str) -> BrokerError {
    match error {
        BrokerError::Refused(text) => BrokerError::Refused(format!(
            "can't take requests from the queue {queue}: {text}; make it, or start with TOPOLOGY=declare"
        )),
        other => other,
    }
}
