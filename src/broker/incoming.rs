//! What comes in over a subscription, and how much of it is asked for.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::select_all;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::time::Instant;

use super::batch::BatchLimits;
use super::envelope::Envelope;
use super::error::{ANSWER_MAX, BrokerError, within};
use super::read_gate::ReadGate;
use super::window::{Step, Window};

/// A batch of so many requests is worth its cost: in a larger one each costs hardly less.
const LARGE: usize = 200;

type Pausing = Pin<Box<dyn Future<Output = lapin::Result<()>> + Send>>;

/// The incoming side of a subscription.
pub(super) struct Incoming {
    queue: String,
    channels: Vec<Channel>,
    /// One of each channel; none while nothing is asked for over it.
    streams: Vec<Option<Consumer>>,
    /// What was taken out of the streams and is in no batch yet.
    ready: VecDeque<Envelope>,
    ready_bytes: usize,
    intake: Arc<ReadGate>,
    window: Window,
    /// Why a channel was lost. All streams end then, and only one of them says why.
    lost: Option<BrokerError>,
    /// Of each channel, that nothing more is asked for is on its way to the broker.
    pausing: Vec<Option<Pausing>>,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incoming({}, {:?})", self.queue, self.window)
    }
}

impl Incoming {
    /// Nothing is asked for yet.
    pub(super) fn new(queue: &str, channels: Vec<Channel>, intake: Arc<ReadGate>, window: Window) -> Self {
        Self {
            queue: queue.to_owned(),
            streams: channels.iter().map(|_| None).collect(),
            pausing: channels.iter().map(|_| None).collect(),
            channels,
            ready: VecDeque::new(),
            ready_bytes: 0,
            intake,
            window,
            lost: None,
        }
    }

    /// Nothing is left, and nothing is asked for.
    pub(super) fn is_over(&self) -> bool {
        self.ready.is_empty() && self.asks_for_nothing()
    }

    fn asks_for_nothing(&self) -> bool {
        self.streams.iter().all(Option::is_none)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Whether a batch of what is ready is worth its cost.
    pub(super) fn is_large(&self, limits: BatchLimits) -> bool {
        self.ready.len() >= LARGE.min(limits.requests_max) || self.ready_bytes >= limits.bytes_max
    }

    /// Waits for one delivery. While nothing is asked for none comes.
    pub(super) async fn wait(&mut self) -> Result<(), BrokerError> {
        let places = self.streams.iter_mut().enumerate();
        let next: Vec<_> = places
            .filter_map(|(channel, stream)| Some(stream.as_mut()?.next().map(move |next| (channel, next))))
            .collect();
        if next.is_empty() {
            std::future::pending::<()>().await;
        }
        let ((channel, next), ..) = select_all(next).await;
        self.take(channel, next)
    }

    /// Takes all that has come out of the streams.
    pub(super) fn drain(&mut self) -> Result<(), BrokerError> {
        let unseen = self.intake.unseen();
        for channel in 0..self.streams.len() {
            while let Some(next) = self.streams[channel].as_mut().and_then(|stream| stream.next().now_or_never()) {
                self.take(channel, next)?;
            }
        }
        self.intake.looked_at(unseen);
        Ok(())
    }

    fn take(&mut self, channel: usize, next: Option<lapin::Result<Delivery>>) -> Result<(), BrokerError> {
        match next {
            Some(Err(error)) => {
                let error = BrokerError::from(error);
                self.lost = Some(error.clone());
                Err(error)
            }
            Some(Ok(delivery)) => {
                let envelope = Envelope { delivery: Box::new(delivery), channel, arrived_at: Instant::now() };
                let bytes = envelope.body().len();
                self.window.saw(bytes);
                self.ready_bytes += bytes;
                self.intake.take(bytes);
                self.ready.push_back(envelope);
                Ok(())
            }
            // It says so once only, and would be silent for ever after.
            None => {
                (self.streams[channel], self.pausing[channel]) = (None, None);
                match &self.lost {
                    Some(error) => Err(error.clone()),
                    None if self.window.is_paused() => Ok(()),
                    None => Err(BrokerError::Cancelled),
                }
            }
        }
    }

    /// The first of what is ready, within the limits; none, if the very first is beyond them.
    pub(super) fn first(&mut self, limits: BatchLimits) -> (Vec<Envelope>, usize) {
        let mut bytes = 0;
        let mut count = 0;
        if self.ready.front().is_some_and(|first| first.body().len() > limits.first_bytes_max) {
            return (Vec::new(), 0);
        }
        while count < limits.requests_max.min(self.ready.len()) && bytes < limits.bytes_max {
            bytes += self.ready[count].body().len();
            count += 1;
        }
        self.ready_bytes -= bytes;
        (self.ready.drain(..count).collect(), bytes)
    }

    /// Asks for more or for less, as the window says; `has_settled` if anything was settled yet.
    pub(super) async fn adjust(&mut self, has_settled: bool) -> Result<(), BrokerError> {
        loop {
            match self.window.step(self.intake.held(), has_settled) {
                Step::Ask(prefetch) if self.asks_for_nothing() => return self.ask(prefetch).await,
                // First what was asked for before comes to its end.
                Step::Ask(_) if self.window.is_paused() => return Ok(()),
                Step::Pause | Step::Ask(_) => self.pause()?,
                Step::Stay => return Ok(()),
            }
        }
    }

    /// Asks for nothing more. What is on its way still comes, then the streams end; as that may be
    /// much it is not waited for here. A broker that never hears of it is noticed by its heartbeats.
    pub(super) fn pause(&mut self) -> Result<(), BrokerError> {
        self.window.paused();
        self.intake.ask_for(0);
        for ((channel, stream), pausing) in self.channels.iter().zip(&self.streams).zip(&mut self.pausing) {
            let Some(stream) = stream else { continue };
            if pausing.is_some() {
                continue;
            }
            let (channel, tag) = (channel.clone(), stream.tag());
            let cancel = async move { channel.basic_cancel(tag, BasicCancelOptions::default()).await };
            let mut cancel: Pausing = Box::pin(cancel);
            match (&mut cancel).now_or_never() {
                Some(done) => done?,
                None => *pausing = Some(cancel),
            }
        }
        Ok(())
    }

    /// Waits until nothing is asked for any more, as far as the broker knows.
    pub(super) async fn until_paused(&mut self) -> Result<(), BrokerError> {
        self.pause()?;
        while !self.asks_for_nothing() {
            self.wait().await?;
        }
        Ok(())
    }

    /// Asks for so many requests at a time, or one more; nothing may be asked for now.
    async fn ask(&mut self, prefetch: u16) -> Result<(), BrokerError> {
        let channels = u16::try_from(self.channels.len()).unwrap_or(1).max(1);
        let each = prefetch.div_ceil(channels);
        let _open = self.intake.open();
        for (channel, stream) in self.channels.iter().zip(&mut self.streams) {
            // Before the subscription: the library keeps deliveries in a queue that has no other bound.
            within(ANSWER_MAX, "qos", channel.basic_qos(each, BasicQosOptions { global: false })).await?;
            let (queue, options) = (self.queue.as_str().into(), BasicConsumeOptions::default());
            let consuming = channel.basic_consume(queue, "".into(), options, FieldTable::default());
            let consuming = within(ANSWER_MAX, "consume", consuming).await;
            *stream = Some(consuming.map_err(|error| explain(error, &self.queue))?);
        }
        self.window.asked(prefetch);
        self.intake.ask_for(prefetch);
        Ok(())
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
