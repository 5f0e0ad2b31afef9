//! Messages that wait beside the lanes, each for its own destination: a queue that is slow, full or
//! gone, or a connection that it alone may cost. No lane waits for them.
//!
//! What waits is bounded: in number and bytes, else the lanes wait until there is room again; and
//! in time, after which a reply goes to the result queue, and anything else back to the request
//! queue together with its request.

mod alone;
mod tender;
mod waiting;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, error, warn};

pub use self::waiting::Backlog;
use self::waiting::{BYTES_MAX, Errand, MESSAGES_MAX, Waiting, limit};
use super::compose::Parcel;
use super::context::Context;
use super::destinations::{Destination, Known};
use super::outlets::{Left, Lines};
use super::owed::{Owed, Unmarked};
use super::tally::Tally;
use crate::broker::batch::Receipt;
use crate::broker::error::BrokerError;
use crate::broker::outgoing::Route;
use crate::broker::publisher::{Fate, Unconfirmed};
use crate::broker::subscription::Subscription;

/// So many messages for one destination are published together.
const BATCH_MAX: usize = 250;

/// A request that something is still to be said about, and its key.
#[derive(Debug, Clone)]
pub struct Owing {
    /// The request.
    pub owed: Arc<Owed>,
    key: u64,
}

/// The messages of a session that wait beside its lanes.
#[derive(Debug)]
pub struct Deferred {
    context: Arc<Context>,
    subscription: Arc<Subscription>,
    lines: Arc<Lines>,
    waiting: Mutex<Waiting>,
    /// Rung when something was said.
    room: Notify,
    failure: watch::Sender<Option<BrokerError>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Deferred {
    /// Nothing waits yet.
    pub fn new(
        context: Arc<Context>,
        subscription: Arc<Subscription>,
        lines: Arc<Lines>,
    ) -> Arc<Self> {
        Arc::new(Self {
            context,
            subscription,
            lines,
            waiting: Mutex::default(),
            room: Notify::new(),
            failure: watch::channel(None).0,
            tasks: Mutex::default(),
        })
    }

    /// A request of which something is left to be said.
    pub fn open(&self, owed: Owed) -> Owing {
        let owed = Arc::new(owed);
        let mut waiting = self.waiting();
        waiting.next_request += 1;
        let key = waiting.next_request;
        waiting.requests.insert(key, owed.clone());
        Owing { owed, key }
    }

    /// Takes what a lane has left; `owing` has the request of each message.
    pub fn accept(self: &Arc<Self>, left: Left, owing: &mut impl FnMut(usize) -> Owing) {
        let mut errand = |parcel: Parcel| {
            let Owing { owed, key } = owing(parcel.request);
            owed.add();
            Errand {
                parcel,
                owed,
                request: key,
                since: Instant::now(),
                attempts: 0,
            }
        };
        match left {
            Left::Late(unconfirmed, parcels) => {
                let errands = parcels
                    .into_iter()
                    .map(|(index, parcel)| (index, errand(parcel)))
                    .collect();
                self.watch(unconfirmed, errands);
            }
            Left::Refused(parcel) | Left::Alone(parcel) => {
                let errand = errand(parcel);
                self.count(&errand);
                self.push(errand);
            }
        }
        self.make_room();
    }

    /// Waits until more may wait. The lanes do so before they take anything new.
    pub async fn until_room(&self) {
        loop {
            let rung = self.room.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if !self.waiting().is_full() {
                return;
            }
            rung.await;
        }
    }

    /// Waits until nothing waits, and all that did is settled.
    pub async fn until_idle(&self) {
        loop {
            let rung = self.room.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if self.waiting().is_idle() {
                return;
            }
            rung.await;
        }
    }

    /// Resolves when something is missing that more than one message needs.
    pub async fn failed(&self) -> BrokerError {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(error) = failure.borrow_and_update().clone() {
                return error;
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What waits, by destination.
    pub fn backlogs(&self) -> Vec<Backlog> {
        self.waiting().backlogs.values().cloned().collect()
    }

    /// Ends all of it. What was stored without leaving a trace is marked, so that its redelivery
    /// finds it.
    pub async fn end(&self) {
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .abort_all();
        let unmarked: Vec<_> = self
            .waiting()
            .requests
            .values()
            .flat_map(|owed| owed.unmarked())
            .collect();
        self.mark(&unmarked).await;
    }

    async fn mark(&self, unmarked: &[Unmarked]) {
        if unmarked.is_empty() {
            return;
        }
        if let Err(error) = self.context.store.mark(unmarked).await {
            debug!(%error, "stored requests could not be marked before they were given back");
        }
    }

    // ---- what waits

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing is left half done behind it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn result_queue(&self) -> &str {
        &self.context.config.topology.result_queue
    }

    fn destination(&self, errand: &Errand) -> Destination {
        Destination::of(&errand.parcel.message, self.result_queue())
    }

    fn count(&self, errand: &Errand) {
        let destination = self.destination(errand);
        let mut waiting = self.waiting();
        waiting.messages += 1;
        waiting.bytes += errand.parcel.message.size();
        let backlog = waiting.backlogs.entry(destination.clone());
        let backlog = backlog.or_insert_with(|| Backlog {
            destination,
            messages: 0,
            since: Instant::now(),
        });
        backlog.messages += 1;
    }

    fn uncount(&self, errand: &Errand) {
        let destination = self.destination(errand);
        let mut waiting = self.waiting();
        waiting.messages = waiting.messages.saturating_sub(1);
        waiting.bytes = waiting.bytes.saturating_sub(errand.parcel.message.size());
        if let Some(backlog) = waiting.backlogs.get_mut(&destination) {
            backlog.messages = backlog.messages.saturating_sub(1);
            if backlog.messages == 0 {
                waiting.backlogs.remove(&destination);
            }
        }
        drop(waiting);
        self.room.notify_waiters();
    }

    /// To those who wait for the same, and sees to it that somebody tends them.
    fn push(self: &Arc<Self>, errand: Errand) {
        if matches!(
            errand.parcel.message.route(self.result_queue()),
            Route::Interpreted | Route::Alone
        ) {
            return self.push_alone(errand);
        }
        let destination = self.destination(&errand);
        let mut waiting = self.waiting();
        let is_tended = waiting.queues.contains_key(&destination);
        waiting
            .queues
            .entry(destination.clone())
            .or_default()
            .push_back(errand);
        drop(waiting);
        if !is_tended {
            self.spawn(self.clone().tend(destination));
        }
    }

    fn push_alone(self: &Arc<Self>, errand: Errand) {
        let mut waiting = self.waiting();
        waiting.alone.push_back(errand);
        if !std::mem::replace(&mut waiting.alone_is_tended, true) {
            drop(waiting);
            let deferred = self.clone();
            self.spawn(async move { deferred.tend_alone().await });
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                // A fault of ours: what it had is delivered again with all else.
                self.fail(BrokerError::Lost(format!(
                    "a task for deferred messages ended by itself: {error}"
                )));
            }
        }
        tasks.spawn(task);
    }

    /// The oldest dead letters of what could not be read make room; a request with a good token
    /// never does.
    fn make_room(self: &Arc<Self>) {
        let dead_letters =
            Destination::DeadLetters(self.context.config.topology.dead_letter_queue.clone());
        let mut dropped = Vec::new();
        {
            let mut waiting = self.waiting();
            let mut excess = waiting.messages.saturating_sub(MESSAGES_MAX - 1);
            let mut excess_bytes = waiting.bytes.saturating_sub(BYTES_MAX - 1);
            let Some(queue) = waiting.queues.get_mut(&dead_letters) else {
                return;
            };
            while excess > 0 || excess_bytes > 0 {
                let Some(index) = queue.iter().position(Errand::may_be_dropped) else {
                    break;
                };
                let Some(errand) = queue.remove(index) else {
                    break;
                };
                excess = excess.saturating_sub(1);
                excess_bytes = excess_bytes.saturating_sub(errand.parcel.message.size());
                dropped.push(errand);
            }
        }
        for errand in dropped {
            self.drop_unreadable(errand);
        }
    }

    fn drop_unreadable(self: &Arc<Self>, errand: Errand) {
        let recorder = &self.context.recorder;
        recorder.metrics.dead_letters_dropped.inc();
        if let Some(messages) = recorder.dropped.happened(1) {
            error!(
                messages,
                queue = self.context.config.topology.dead_letter_queue,
                "the dead-letter queue has had no room for long: unreadable messages are answered and dropped, the \
                 oldest first; make room in it"
            );
        }
        // At once, else the next look would find as little room, and drop as many more.
        self.begin_settling(&errand);
        let deferred = self.clone();
        self.spawn(async move { deferred.settle(errand).await });
    }

    // ---- how it ends for a message

    /// The broker has it safe, or nobody will.
    async fn finish(&self, errand: Errand) {
        self.begin_settling(&errand);
        self.settle(errand).await;
    }

    /// It does not wait any more, and is not settled yet: there is room, and something is to be
    /// done.
    fn begin_settling(&self, errand: &Errand) {
        self.waiting().settling += 1;
        self.uncount(errand);
    }

    fn end_settling(&self) {
        self.waiting().settling -= 1;
        self.room.notify_waiters();
    }

    async fn settle(&self, errand: Errand) {
        if let Some(receipt) = errand.owed.done() {
            self.waiting().requests.remove(&errand.request);
            match self.subscription.settle(receipt).await {
                Ok(()) => self.context.settled(&[errand.owed.arrived_at()]),
                Err(error) => debug!(%error, "what was said could not be acknowledged"),
            }
        }
        self.end_settling();
    }

    async fn confirmed(&self, errand: Errand) {
        let mut tally = Tally::default();
        tally.confirmed(errand.parcel.says);
        tally.count(&self.context.recorder.metrics);
        self.finish(errand).await;
    }

    /// A lane has done its part of a request. If everything of it is said, it is settled.
    pub async fn lane_done(&self, owing: Owing, receipt: Receipt) -> Result<(), BrokerError> {
        let Some(receipt) = owing.owed.lane_done(receipt) else {
            return Ok(());
        };
        self.waiting().requests.remove(&owing.key);
        self.subscription.settle(receipt).await?;
        self.context.settled(&[owing.owed.arrived_at()]);
        Ok(())
    }

    /// It has waited for too long: the request goes back to the queue.
    async fn give_back(self: &Arc<Self>, mut errand: Errand) {
        let Some(receipt) = errand.owed.end() else {
            if !errand.owed.is_over() {
                // A lane is still at it.
                errand.since = Instant::now();
                return self.push(errand);
            }
            return self.uncount(&errand);
        };
        self.begin_settling(&errand);
        self.mark(&errand.owed.unmarked()).await;
        self.waiting().requests.remove(&errand.request);
        if let Err(error) = self.subscription.give_back(receipt).await {
            debug!(%error, "a request could not be given back to the queue");
        }
        self.end_settling();
    }

    /// A reply goes to the result queue; returns what is none.
    fn redirect(self: &Arc<Self>, mut errand: Errand) -> Option<Errand> {
        self.uncount(&errand);
        let is_redirected = errand.parcel.redirect(self.result_queue());
        errand.since = Instant::now();
        self.count(&errand);
        if is_redirected {
            self.push(errand);
            None
        } else {
            Some(errand)
        }
    }

    fn fail(&self, error: BrokerError) {
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert(error);
            is_first
        });
    }

    /// What waited is dropped: it is delivered again. Idle lanes would not notice.
    fn fail_closed(&self) {
        self.fail(BrokerError::Lost(
            "the connection to publish on is closed".to_owned(),
        ));
    }

    // ---- those that are published and not confirmed

    fn watch(self: &Arc<Self>, unconfirmed: Box<Unconfirmed>, errands: Vec<(usize, Errand)>) {
        for (_, errand) in &errands {
            self.count(errand);
        }
        // What is published is dropped only where nothing older is left that could be.
        self.make_room();
        let mut kept = Vec::with_capacity(errands.len());
        for (index, errand) in errands {
            if errand.may_be_dropped() && self.waiting().is_full() {
                self.drop_unreadable(errand);
            } else {
                kept.push((index, errand));
            }
        }
        self.tell_of(&kept);
        let deferred = self.clone();
        self.spawn(async move { deferred.wait_for(unconfirmed, kept).await });
    }

    fn tell_of(&self, errands: &[(usize, Errand)]) {
        let Some((_, first)) = errands.first() else {
            return;
        };
        if let Some(messages) = self
            .context
            .recorder
            .unconfirmed
            .happened(errands.len() as u64)
        {
            let name = self.destination(first).name();
            warn!(
                messages,
                "{name} does not confirm what it is sent; others do not wait for it"
            );
        }
    }

    async fn wait_for(
        self: &Arc<Self>,
        unconfirmed: Box<Unconfirmed>,
        errands: Vec<(usize, Errand)>,
    ) {
        let Some((_, first)) = errands.first() else {
            return;
        };
        // Those of one channel are all for requesters, or none is.
        let limit = limit(&self.destination(first));
        let fates = unconfirmed.settle(limit).await;
        for (index, errand) in errands {
            let fate = fates
                .as_ref()
                .ok()
                .and_then(|fates| fates.get(index))
                .copied();
            match fate {
                Some(Fate::Confirmed) => {
                    self.context.destinations.forget(&self.destination(&errand));
                    self.confirmed(errand).await;
                }
                Some(Fate::Returned) => self.returned(errand),
                Some(Fate::Unconfirmed) => self.out_of_time(errand).await,
                // It is published again, unless the broker is lost.
                Some(Fate::Refused) | None => self.push(errand),
            }
        }
    }

    fn returned(self: &Arc<Self>, errand: Errand) {
        if let Some(errand) = self.redirect(errand) {
            self.fail(BrokerError::Unroutable(
                errand.parcel.message.routing_key().to_owned(),
            ));
        }
    }

    /// What has waited for so long as it may.
    async fn out_of_time(self: &Arc<Self>, errand: Errand) {
        let destination = self.destination(&errand);
        if destination.is_requesters() {
            self.context
                .destinations
                .remember(destination, Known::Refuses);
            self.returned(errand);
        } else {
            self.give_back(errand).await;
        }
    }

    // ---- those that wait for one destination

    fn take(&self, destination: &Destination) -> Option<Vec<Errand>> {
        let mut waiting = self.waiting();
        let queue = waiting.queues.get_mut(destination)?;
        let count = queue.len().min(BATCH_MAX);
        if count == 0 {
            waiting.queues.remove(destination);
            return None;
        }
        Some(queue.drain(..count).collect())
    }

    fn put_back(&self, destination: &Destination, errands: Vec<Errand>) {
        let mut waiting = self.waiting();
        let queue = waiting.queues.entry(destination.clone()).or_default();
        for errand in errands.into_iter().rev() {
            queue.push_front(errand);
        }
    }
}
