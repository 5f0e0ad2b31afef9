//! Messages that wait beside the lanes, each for its own destination: a queue that is slow, full or
//! gone, or a connection that it alone may cost. No lane waits for them.
//!
//! What waits is bounded: in number and bytes, else the lanes wait until there is room again; and
//! in time, after which a reply goes to the result queue, and anything else back to the request
//! queue together with its request.

mod alone;
mod ending;
mod room;
mod tender;
mod unconfirmed;
mod waiting;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::debug;

pub(crate) use self::waiting::Backlog;
use self::waiting::{Errand, Waiting};
use super::compose::Parcel;
use super::context::Context;
use super::destinations::Destination;
use super::outlets::{Left, Lines};
use super::owed::{Owed, Unmarked};
use crate::broker::error::BrokerError;
use crate::broker::outgoing::Route;
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
