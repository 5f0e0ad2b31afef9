//! What comes in over a subscription, and how much of it is asked for.

mod ready_queue;
mod size_class;
mod slot;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::select_all;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use tokio::time::Instant;

use self::ready_queue::ReadyQueue;
use self::size_class::SizeClass;
use self::slot::Slot;
use super::acks::SingleAcks;
use super::connection::Connection;
use super::consumer_channel::ConsumerChannel;
use super::envelope::Envelope;
use super::error::BrokerError;
use super::frames::set_aside::SetAside;
use super::prefetch_window::{PrefetchWindow, Step};
use super::read_gate::ReadGate;

/// Two channels bring a full queue in faster than one, as the broker has a process for each; more
/// do not.
const CHANNELS: u16 = 2;

/// So many channels may stay open for requests that wait beside the lanes, besides those that
/// requests come over.
const LINGERING_MAX: usize = 16;

/// At most so often a channel is replaced because of requests that wait beside the lanes.
const REPLACE_EVERY: Duration = Duration::from_secs(1);

/// The incoming side of a subscription.
pub(super) struct Incoming {
    queue: String,
    connection: Connection,
    slots: Vec<Slot>,
    single_acks: Arc<Mutex<SingleAcks>>,
    /// Channels that nothing is asked for over any more, but of which something waits beside the
    /// lanes.
    lingering: Vec<Arc<ConsumerChannel>>,
    replaced_at: Instant,
    /// What was taken out of the streams and is in no batch yet.
    pub(super) ready: ReadyQueue,
    gate: Arc<ReadGate>,
    /// Properties that the client library can't take, for the deliveries that have them.
    set_aside: Arc<SetAside>,
    frame_max: usize,
    window: PrefetchWindow,
    /// Why a channel was lost. All streams end then, and only one of them says why.
    lost: Option<BrokerError>,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incoming({}, {:?})", self.queue, self.window)
    }
}

impl Incoming {
    /// Nothing is asked for yet.
    pub(super) async fn open(
        connection: &Connection,
        queue: &str,
        window: PrefetchWindow,
    ) -> Result<Self, BrokerError> {
        let (mut slots, single_acks) = (Vec::new(), Arc::default());
        for _ in 0..CHANNELS.min(window.most()) {
            slots.push(Slot::open(connection, &single_acks).await?);
        }
        Ok(Self {
            queue: queue.to_owned(),
            connection: connection.clone(),
            slots,
            single_acks,
            lingering: Vec::new(),
            replaced_at: Instant::now(),
            ready: ReadyQueue::default(),
            gate: connection.gate().clone(),
            set_aside: connection.set_aside().clone(),
            frame_max: connection.frame_max(),
            window,
            lost: None,
        })
    }

    /// How many channels requests come over.
    pub(super) fn channels(&self) -> usize {
        self.slots.len()
    }

    /// Every channel over which something came that may not be settled.
    pub(super) fn all_channels(&self) -> impl Iterator<Item = &Arc<ConsumerChannel>> {
        self.slots
            .iter()
            .map(|slot| &slot.consumer_channel)
            .chain(&self.lingering)
    }

    /// Nothing is left, and nothing is asked for.
    pub(super) fn is_over(&self) -> bool {
        self.ready.is_empty() && self.asks_for_nothing()
    }

    fn asks_for_nothing(&self) -> bool {
        self.slots.iter().all(|slot| slot.stream.is_none())
    }

    /// Waits for one delivery. While nothing is asked for none comes.
    pub(super) async fn wait(&mut self) -> Result<(), BrokerError> {
        let slots = self.slots.iter_mut().enumerate();
        let next: Vec<_> = slots
            .filter_map(|(index, slot)| {
                Some(slot.stream.as_mut()?.next().map(move |next| (index, next)))
            })
            .collect();
        if next.is_empty() {
            // Whoever waits here waits for something else as well.
            std::future::pending::<()>().await;
        }
        let ((index, next), ..) = select_all(next).await;
        self.take(index, next)
    }

    /// Takes all that has come out of the streams.
    pub(super) fn drain(&mut self) -> Result<(), BrokerError> {
        // Before the look: what is read during it may not have come out of the streams yet.
        let unseen = self.gate.unseen();
        for index in 0..self.slots.len() {
            while let Some(next) = self.slots[index]
                .stream
                .as_mut()
                .and_then(|stream| stream.next().now_or_never())
            {
                self.take(index, next)?;
            }
        }
        self.gate.looked_at(unseen);
        Ok(())
    }

    fn take(
        &mut self,
        index: usize,
        next: Option<lapin::Result<Delivery>>,
    ) -> Result<(), BrokerError> {
        match next {
            Some(Err(error)) => {
                let error = BrokerError::from(error);
                self.lost = Some(error.clone());
                Err(error)
            }
            Some(Ok(delivery)) => {
                let consumer_channel = self.slots[index].consumer_channel.clone();
                self.sort_in(Envelope::new(
                    delivery,
                    consumer_channel,
                    self.frame_max,
                    &self.set_aside,
                ));
                Ok(())
            }
            // It says so once only, and would be silent for ever after.
            None => {
                self.slots[index].ended();
                match &self.lost {
                    Some(error) => Err(error.clone()),
                    None if self.window.is_paused() => Ok(()),
                    None => Err(BrokerError::Cancelled),
                }
            }
        }
    }

    fn sort_in(&mut self, envelope: Envelope) {
        let bytes = envelope.size();
        self.window.saw(bytes);
        self.gate.take(bytes);
        match SizeClass::of(&envelope) {
            SizeClass::Small(bytes) => self.ready.push_small(bytes, envelope),
            SizeClass::Large(bytes) => {
                // Small ones that came later overtake it.
                envelope
                    .consumer_channel
                    .set_aside(envelope.delivery.delivery_tag);
                self.ready.push_large(bytes, envelope);
            }
        }
    }

    /// Asks for more or for less, as the window says; `has_settled` if anything was settled yet.
    pub(super) async fn adjust(&mut self, has_settled: bool) -> Result<(), BrokerError> {
        if self.wants_other_channels() {
            // The channels are replaced when something is asked for again.
            self.pause()?;
        }
        loop {
            match self.window.step(self.gate.held(), has_settled) {
                Step::Ask(prefetch) if self.asks_for_nothing() => return self.ask(prefetch).await,
                // First what was asked for before comes to its end.
                Step::Ask(_) if self.window.is_paused() => return Ok(()),
                Step::Pause | Step::Ask(_) => self.pause()?,
                Step::Stay => return Ok(()),
            }
        }
    }

    /// A request that waits beside the lanes counts against the prefetch window of its channel, and
    /// what comes after it can't be acknowledged together. So requests come over another channel
    /// from then on, and this one stays open for those that wait.
    fn wants_other_channels(&mut self) -> bool {
        if self.window.is_paused()
            || !self
                .slots
                .iter()
                .any(|slot| slot.consumer_channel.deferred() > 0)
        {
            return false;
        }
        self.lingering.retain(|consumer_channel| {
            consumer_channel.deferred() > 0
                || Arc::strong_count(consumer_channel) > 1
                || !consumer_channel.keep_open().is_zero()
        });
        let may_replace = self.lingering.len() + self.slots.len() <= LINGERING_MAX;
        may_replace && self.replaced_at.elapsed() >= REPLACE_EVERY
    }

    async fn replace_channels(&mut self) -> Result<(), BrokerError> {
        for slot in &mut self.slots {
            if slot.consumer_channel.deferred() > 0 && self.lingering.len() < LINGERING_MAX {
                let old =
                    std::mem::replace(slot, Slot::open(&self.connection, &self.single_acks).await?);
                self.lingering.push(old.consumer_channel);
            }
        }
        self.replaced_at = Instant::now();
        Ok(())
    }

    /// Asks for nothing more. What is on its way still comes, then the streams end; as that may be
    /// much it is not waited for here. A broker that never hears of it is noticed by its
    /// heartbeats.
    pub(super) fn pause(&mut self) -> Result<(), BrokerError> {
        self.window.paused();
        self.gate.ask_for(0);
        for slot in &mut self.slots {
            slot.pause()?;
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
        let gate = self.gate.clone();
        let _open = gate.open();
        self.replace_channels().await?;
        let channels = u16::try_from(self.slots.len()).unwrap_or(1).max(1);
        for slot in &mut self.slots {
            slot.ask(&self.queue, prefetch.div_ceil(channels)).await?;
        }
        self.window.asked(prefetch);
        self.gate.ask_for(prefetch);
        Ok(())
    }
}
