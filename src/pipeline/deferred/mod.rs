//! Messages that wait beside the lanes, each for its own destination: a queue that is slow, full or
//! gone, or a connection that it alone may cost. No lane waits for them.
//!
//! What waits is bounded: in number and bytes, else the lanes wait until there is room again; and
//! in time, after which a reply goes to the result queue, and anything else back to the request
//! queue together with its request.

mod alone;
mod destination_task;
mod ending;
mod room;
mod unconfirmed;
mod waiting;

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::debug;

pub(crate) use self::waiting::Backlog;
use self::waiting::{Waiting, WaitingMessage};
use super::compose::Message;
use super::context::Context;
use super::destinations::Destination;
use super::lane_publisher::Unpublished;
use super::outstanding::{Outstanding, Unmarked};
use super::publishing_connections::PublishingConnections;
use crate::broker::consumer::RequestConsumer;
use crate::broker::error::BrokerError;
use crate::broker::outgoing::Route;
use crate::sync::lock;

/// So many messages for one destination are published together.
const BATCH_MAX: usize = 250;

/// A request that something is still to be said about, and its key.
#[derive(Debug, Clone)]
pub struct OutstandingHandle {
    /// The request.
    pub outstanding: Arc<Outstanding>,
    key: u64,
}

/// The messages of a session that wait beside its lanes.
#[derive(Debug)]
pub struct Deferred {
    context: Arc<Context>,
    consumer: Arc<RequestConsumer>,
    connections: Arc<PublishingConnections>,
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
        consumer: Arc<RequestConsumer>,
        connections: Arc<PublishingConnections>,
    ) -> Arc<Self> {
        Arc::new(Self {
            context,
            consumer,
            connections,
            waiting: Mutex::default(),
            room: Notify::new(),
            failure: watch::channel(None).0,
            tasks: Mutex::default(),
        })
    }

    /// A request of which something is left to be said.
    pub fn open(&self, outstanding: Outstanding) -> OutstandingHandle {
        let outstanding = Arc::new(outstanding);
        let mut waiting = self.waiting();
        waiting.next_request += 1;
        let key = waiting.next_request;
        waiting.requests.insert(key, outstanding.clone());
        OutstandingHandle { outstanding, key }
    }

    /// Takes what a lane has left; `handle_of` has the request of each message.
    pub fn accept(
        self: &Arc<Self>,
        left: Unpublished,
        handle_of: &mut impl FnMut(usize) -> OutstandingHandle,
    ) {
        let mut waiting = |message: Message| {
            let OutstandingHandle { outstanding, key } = handle_of(message.request);
            outstanding.add();
            WaitingMessage {
                message,
                outstanding,
                request: key,
                since: Instant::now(),
                attempts: 0,
            }
        };
        match left {
            Unpublished::Late(unconfirmed, messages) => {
                let messages = messages
                    .into_iter()
                    .map(|(index, message)| (index, waiting(message)))
                    .collect();
                self.watch(unconfirmed, messages);
            }
            Unpublished::Refused(message) | Unpublished::Alone(message) => {
                let message = waiting(message);
                self.count(&message);
                self.push(message);
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
        lock(&self.tasks).abort_all();
        let unmarked: Vec<_> = self
            .waiting()
            .requests
            .values()
            .flat_map(|outstanding| outstanding.unmarked())
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
        lock(&self.waiting)
    }

    fn result_queue(&self) -> &str {
        &self.context.config.topology.result_queue
    }

    fn destination(&self, message: &WaitingMessage) -> Destination {
        Destination::of(&message.message.outgoing, self.result_queue())
    }

    fn count(&self, message: &WaitingMessage) {
        let destination = self.destination(message);
        self.waiting().count(destination, message.size());
    }

    fn uncount(&self, message: &WaitingMessage) {
        let destination = self.destination(message);
        self.waiting().uncount(&destination, message.size());
        self.room.notify_waiters();
    }

    /// Adds a message to those that wait for the same, and sees to it that a task publishes them.
    fn push(self: &Arc<Self>, message: WaitingMessage) {
        if matches!(
            message.message.outgoing.route(self.result_queue()),
            Route::Interpreted | Route::Alone
        ) {
            return self.push_alone(message);
        }
        let destination = self.destination(&message);
        let has_task = self.waiting().push(destination.clone(), message);
        if !has_task {
            self.spawn(self.clone().publish_to(destination));
        }
    }

    fn push_alone(self: &Arc<Self>, message: WaitingMessage) {
        let mut waiting = self.waiting();
        waiting.alone.push_back(message);
        if !std::mem::replace(&mut waiting.alone_has_task, true) {
            drop(waiting);
            let deferred = self.clone();
            self.spawn(async move { deferred.publish_all_alone().await });
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
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

    fn take(&self, destination: &Destination) -> Option<Vec<WaitingMessage>> {
        self.waiting().take(destination, BATCH_MAX)
    }

    fn put_back(&self, destination: &Destination, messages: Vec<WaitingMessage>) {
        self.waiting().put_back(destination, messages);
    }
}
