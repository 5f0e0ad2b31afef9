//! What comes in over a subscription, and how much of it is asked for.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::select_all;
use futures_util::{FutureExt, StreamExt};
use lapin::Consumer;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::time::Instant;

use super::acks::SingleAcks;
use super::batch::BatchLimits;
use super::connection::Connection;
use super::envelope::Envelope;
use super::error::{ANSWER_MAX, BrokerError, within};
use super::frames::set_aside::SetAside;
use super::read_gate::ReadGate;
use super::subscribed::Subscribed;
use super::window::{Step, Window};
use crate::limits::LARGE_BODY_BYTES;

/// A batch of so many requests is worth its cost: in a larger one each costs hardly less.
const WORTHWHILE: usize = 200;

/// Two channels bring a full queue in faster than one, as the broker has a process for each; more
/// do not.
const CHANNELS: u16 = 2;

/// So many channels may stay open for requests that wait beside the lanes, besides those that
/// requests come over.
const LINGERING_MAX: usize = 16;

/// At most so often a channel is replaced because of requests that wait beside the lanes.
const REPLACE_EVERY: Duration = Duration::from_secs(1);

type Pausing = Pin<Box<dyn Future<Output = lapin::Result<()>> + Send>>;

/// One of the channels that requests come over.
struct Slot {
    subscribed: Arc<Subscribed>,
    /// None while nothing is asked for over it.
    stream: Option<Consumer>,
    /// That nothing more is asked for is on its way to the broker.
    pausing: Option<Pausing>,
}

/// The incoming side of a subscription.
pub(super) struct Incoming {
    queue: String,
    connection: Connection,
    slots: Vec<Slot>,
    single_acks: Arc<Mutex<SingleAcks>>,
    /// Channels that nothing is asked for over any more, but of which something waits beside the
    /// lanes.
    lingering: Vec<Arc<Subscribed>>,
    replaced_at: Instant,
    /// What was taken out of the streams and is in no batch yet.
    small: VecDeque<Envelope>,
    small_bytes: usize,
    large: VecDeque<Envelope>,
    /// The last batch was one of small requests.
    large_is_next: bool,
    gate: Arc<ReadGate>,
    /// Properties that the client library can't take, for the deliveries that have them.
    set_aside: Arc<SetAside>,
    frame_max: usize,
    window: Window,
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
        window: Window,
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
            small: VecDeque::new(),
            small_bytes: 0,
            large: VecDeque::new(),
            large_is_next: false,
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
    pub(super) fn all_channels(&self) -> impl Iterator<Item = &Arc<Subscribed>> {
        self.slots
            .iter()
            .map(|slot| &slot.subscribed)
            .chain(&self.lingering)
    }

    /// Nothing is left, and nothing is asked for.
    pub(super) fn is_over(&self) -> bool {
        self.small.is_empty() && self.large.is_empty() && self.asks_for_nothing()
    }

    fn asks_for_nothing(&self) -> bool {
        self.slots.iter().all(|slot| slot.stream.is_none())
    }

    /// Whether a batch of the small ones that are ready is worth its cost.
    pub(super) fn is_worthwhile(&self, limits: BatchLimits) -> bool {
        self.small.len() >= WORTHWHILE.min(limits.requests_max)
            || self.small_bytes >= limits.bytes_max
    }

    /// Whether there is a large one that may be taken.
    pub(super) fn has_large(&self, limits: BatchLimits) -> bool {
        limits.large_bytes_max > 0 && !self.large.is_empty()
    }

    /// The same, and whether it comes before the small ones. The two take turns.
    pub(super) fn is_turn_of_large(&self, limits: BatchLimits) -> bool {
        self.has_large(limits) && (self.large_is_next || self.small.is_empty())
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
            std::future::pending::<()>().await;
        }
        let ((index, next), ..) = select_all(next).await;
        self.take(index, next)
    }

    /// Takes all that has come out of the streams.
    pub(super) fn drain(&mut self) -> Result<(), BrokerError> {
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
                let subscribed = self.slots[index].subscribed.clone();
                self.sort_in(Envelope::new(
                    delivery,
                    subscribed,
                    self.frame_max,
                    &self.set_aside,
                ));
                Ok(())
            }
            // It says so once only, and would be silent for ever after.
            None => {
                let slot = &mut self.slots[index];
                (slot.stream, slot.pausing) = (None, None);
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
        if envelope.body().len() >= LARGE_BODY_BYTES {
            // Small ones that came later overtake it.
            envelope
                .subscribed
                .set_aside(envelope.delivery.delivery_tag);
            self.large.push_back(envelope);
        } else {
            self.small_bytes += bytes;
            self.small.push_back(envelope);
        }
    }

    /// The first of the small ones that are ready, within the limits, and the bytes of their
    /// bodies.
    pub(super) fn first_small(&mut self, limits: BatchLimits) -> (Vec<Envelope>, usize) {
        let (count, bytes) = first(&self.small, limits.requests_max, limits.bytes_max);
        self.small_bytes -= bytes;
        self.large_is_next = true;
        (self.small.drain(..count).collect(), bytes)
    }

    /// The same of the large ones.
    pub(super) fn first_large(&mut self, limits: BatchLimits) -> Vec<Envelope> {
        let (count, _) = first(&self.large, limits.requests_max, limits.large_bytes_max);
        self.large_is_next = false;
        self.large.drain(..count).collect()
    }

    /// Asks for more or for less, as the window says; `has_settled` if anything was settled yet.
    pub(super) async fn adjust(&mut self, has_settled: bool) -> Result<(), BrokerError> {
        if self.wants_other_channels() {
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
        if self.window.is_paused() || !self.slots.iter().any(|slot| slot.subscribed.beside() > 0) {
            return false;
        }
        self.lingering.retain(|subscribed| {
            subscribed.beside() > 0
                || Arc::strong_count(subscribed) > 1
                || !subscribed.keep_open().is_zero()
        });
        let may_replace = self.lingering.len() + self.slots.len() <= LINGERING_MAX;
        may_replace && self.replaced_at.elapsed() >= REPLACE_EVERY
    }

    async fn replace_channels(&mut self) -> Result<(), BrokerError> {
        for slot in &mut self.slots {
            if slot.subscribed.beside() > 0 && self.lingering.len() < LINGERING_MAX {
                let old =
                    std::mem::replace(slot, Slot::open(&self.connection, &self.single_acks).await?);
                self.lingering.push(old.subscribed);
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
        for Slot {
            subscribed,
            stream,
            pausing,
        } in &mut self.slots
        {
            let Some(stream) = stream else { continue };
            if pausing.is_some() {
                continue;
            }
            let (channel, tag) = (subscribed.channel.clone(), stream.tag());
            let cancel = async move {
                channel
                    .basic_cancel(tag, BasicCancelOptions::default())
                    .await
            };
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
        let gate = self.gate.clone();
        let _open = gate.open();
        self.replace_channels().await?;
        let channels = u16::try_from(self.slots.len()).unwrap_or(1).max(1);
        for slot in &mut self.slots {
            let beside = u16::try_from(slot.subscribed.beside()).unwrap_or(u16::MAX);
            let each = prefetch
                .div_ceil(channels)
                .saturating_add(beside)
                .min(PREFETCH_MAX);
            let channel = &slot.subscribed.channel;
            // Before the subscription: the library keeps deliveries in a queue that has no other
            // bound.
            within(
                ANSWER_MAX,
                "qos",
                channel.basic_qos(each, BasicQosOptions { global: false }),
            )
            .await?;
            let (queue, options) = (self.queue.as_str().into(), BasicConsumeOptions::default());
            let consuming = channel.basic_consume(queue, "".into(), options, FieldTable::default());
            let consuming = within(ANSWER_MAX, "consume", consuming).await;
            slot.stream = Some(consuming.map_err(|error| explain(error, &self.queue))?);
        }
        self.window.asked(prefetch);
        self.gate.ask_for(prefetch);
        Ok(())
    }
}

/// More a quorum queue does not allow to a channel.
const PREFETCH_MAX: u16 = 2000;

impl Slot {
    async fn open(
        connection: &Connection,
        single_acks: &Arc<Mutex<SingleAcks>>,
    ) -> Result<Self, BrokerError> {
        let subscribed = Arc::new(Subscribed::new(
            connection.channel().await?,
            single_acks.clone(),
        ));
        Ok(Self {
            subscribed,
            stream: None,
            pausing: None,
        })
    }
}

/// How many of the first ones are within the limits, one at least, and the bytes of their bodies.
fn first(ready: &VecDeque<Envelope>, requests_max: usize, bytes_max: usize) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    for envelope in ready.iter().take(requests_max) {
        if bytes >= bytes_max {
            break;
        }
        bytes += envelope.size();
        count += 1;
    }
    (count, bytes)
}

fn explain(error: BrokerError, queue: &str) -> BrokerError {
    match error {
        BrokerError::Refused(text) => BrokerError::Refused(format!(
            "can't take requests from the queue {queue}: {text}; make it, or start with TOPOLOGY=declare"
        )),
        other => other,
    }
}
