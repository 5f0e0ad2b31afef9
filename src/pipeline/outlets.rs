//! How a lane says what is to be said: each message over the channel for its kind, all at once, and
//! with a patience that ends. What the broker does not take by then is left for others to deliver.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::compose::{Parcel, Says};
use super::context::Context;
use super::destinations::{Destination, Known};
use super::tally::Tally;
use crate::broker::connection::{Connection, Frames, Options};
use crate::broker::error::BrokerError;
use crate::broker::outgoing::Route;
use crate::broker::publisher::{Fate, Published, Publisher, Unconfirmed};
use crate::broker::setup;
use crate::broker::side::SideConnection;
use crate::telemetry::labels::Way;

/// How long a lane waits for the confirms of a batch. A broker that is well takes milliseconds;
/// what takes longer is one queue's trouble, and waits beside the lanes.
const PATIENCE: Duration = Duration::from_millis(800);

/// What a message that was not taken waits for, beside the lanes.
#[derive(Debug)]
pub enum Left {
    /// These are published, and not confirmed yet; each with its index among what was published.
    Late(Box<Unconfirmed>, Vec<(usize, Parcel)>),
    /// Its destination takes nothing at this moment.
    Refused(Parcel),
    /// It is to be published over a connection where it can hurt nobody.
    Alone(Parcel),
}

/// The connections that a session publishes on.
#[derive(Debug)]
pub struct Lines {
    /// Our own queues and exchange, and the queues that requests name.
    pub publishing: Connection,
    /// Addresses that the broker interprets, and ids that are no text.
    pub interpreted: SideConnection,
    /// One message at a time, which may cost it.
    pub apart: SideConnection,
}

impl Lines {
    /// The side connections are made when they are needed. `name` is this worker's.
    pub fn new(publishing: Connection, name: &str) -> Self {
        let side = |role: &str, frames| {
            let options = Options {
                frames,
                carries_raw_ids: true,
            };
            SideConnection::new(&publishing, format!("{name} {role}"), options)
        };
        let interpreted = side("publishing to direct reply-to", Frames::Small);
        let apart = side("publishing apart", Frames::Large);
        Self {
            publishing,
            interpreted,
            apart,
        }
    }

    /// Whether the broker lives: what was lost on another connection was lost for its own sake.
    pub fn is_open(&self) -> bool {
        self.publishing.is_open()
    }

    /// Says goodbye on all of them.
    pub async fn close(&self) {
        tokio::join!(
            self.interpreted.close(),
            self.apart.close(),
            self.publishing.close()
        );
    }
}

/// The channels that a lane publishes on.
#[derive(Debug)]
pub(crate) struct Outlets {
    context: Arc<Context>,
    lines: Arc<Lines>,
    /// To our own queues and exchange.
    own: Publisher,
    /// To the queues that requests name.
    requesters: Publisher,
    /// To addresses that the broker interprets; opened when the first one comes.
    interpreted: Option<Publisher>,
}

/// What is to be published, by the channel.
#[derive(Default)]
struct Routed {
    own: Vec<Parcel>,
    requesters: Vec<Parcel>,
    interpreted: Vec<Parcel>,
}

/// What was published over one channel, and what became of it.
type Attempt = (Vec<Parcel>, Result<Published, BrokerError>);

/// What becomes of a batch.
struct Sorting<'t> {
    /// Counts what is confirmed.
    tally: &'t mut Tally,
    /// Others deliver it.
    left: Vec<Left>,
    /// To be published yet, or again.
    open: Vec<Parcel>,
}

impl Outlets {
    /// Opens the channels.
    pub(crate) async fn open(
        context: &Arc<Context>,
        lines: &Arc<Lines>,
    ) -> Result<Self, BrokerError> {
        let own = Publisher::open(&lines.publishing).await?;
        let requesters = Publisher::open(&lines.publishing).await?;
        Ok(Self {
            context: context.clone(),
            lines: lines.clone(),
            own,
            requesters,
            interpreted: None,
        })
    }

    /// Publishes, and waits for the broker's confirms. A reply that its requester does not get goes
    /// to the result queue. What is left is not confirmed, and `tally` has counted the rest.
    pub(super) async fn publish(
        &mut self,
        parcels: Vec<Parcel>,
        tally: &mut Tally,
    ) -> Result<Vec<Left>, BrokerError> {
        self.ask_about_sizes(&parcels).await?;
        let mut sorting = Sorting {
            tally,
            left: Vec::new(),
            open: parcels,
        };
        while !sorting.open.is_empty() {
            let open = std::mem::take(&mut sorting.open);
            let Routed {
                own,
                requesters,
                interpreted,
            } = self.route(open, &mut sorting.left);
            let (own, requesters, interpreted) = tokio::join!(
                publish(&mut self.own, own),
                publish(&mut self.requesters, requesters),
                publish_interpreted(&mut self.interpreted, &self.lines, interpreted),
            );
            self.sort_own(own, &mut sorting).await?;
            self.sort_requesters(requesters, &mut sorting).await?;
            self.sort_interpreted(interpreted, &mut sorting);
        }
        Ok(sorting.left)
    }

    /// A broker that takes no message of the size of ours closes the channel; it is asked before.
    async fn ask_about_sizes(&self, parcels: &[Parcel]) -> Result<(), BrokerError> {
        let largest = parcels
            .iter()
            .map(|parcel| parcel.message.body_size())
            .max()
            .unwrap_or(0);
        let size = &self.context.size_limit;
        let Some(bytes) = size.to_ask(largest) else {
            return if largest > size.limit() {
                Err(BrokerError::TooLarge(size.limit()))
            } else {
                Ok(())
            };
        };
        match setup::check_size(&self.lines.publishing, &self.context.config.topology, bytes).await
        {
            Ok(()) => size.takes(bytes),
            Err(BrokerError::TooLarge(limit)) => size.learn(limit),
            Err(error) => return Err(error),
        }
        if largest > size.limit() {
            Err(BrokerError::TooLarge(size.limit()))
        } else {
            Ok(())
        }
    }

    /// Each message to its channel; those whose destination is known to be slow are left.
    fn route(&self, parcels: Vec<Parcel>, left: &mut Vec<Left>) -> Routed {
        let result_queue = &self.context.config.topology.result_queue;
        let mut routed = Routed::default();
        for mut parcel in parcels {
            let known = self
                .context
                .destinations
                .look_for(&parcel.message, result_queue);
            if known == Some(Known::Refuses) && parcel.redirect(result_queue) {
                routed.own.push(parcel);
                continue;
            }
            match parcel.message.route(result_queue) {
                Route::Alone => left.push(Left::Alone(parcel)),
                _ if known.is_some() => left.push(Left::Refused(parcel)),
                Route::Own => routed.own.push(parcel),
                Route::Requester => routed.requesters.push(parcel),
                Route::Interpreted => routed.interpreted.push(parcel),
            }
        }
        routed
    }

    async fn sort_own(
        &mut self,
        (parcels, published): Attempt,
        sorting: &mut Sorting<'_>,
    ) -> Result<(), BrokerError> {
        let returned = match published {
            Ok(published) => {
                let (returned, is_late) = self.sort(parcels, published, sorting);
                if is_late {
                    self.own.renew().await?;
                }
                returned
            }
            Err(BrokerError::RefusedTopic { routing_key, text }) => {
                warn!(
                    "RabbitMQ refuses events with the routing key {routing_key}; those wait beside the others: {text}"
                );
                let topology = &self.context.config.topology;
                self.context.destinations.remember(
                    Destination::Event {
                        exchange: topology.event_exchange.clone(),
                        routing_key,
                    },
                    Known::Slow,
                );
                self.own.renew().await?;
                // Which of them the broker has taken is not known.
                sorting.open.extend(parcels);
                return Ok(());
            }
            Err(error) => return Err(self.learn(error)),
        };
        match returned.first() {
            Some(parcel) => Err(BrokerError::Unroutable(
                parcel.message.routing_key().to_owned(),
            )),
            None => Ok(()),
        }
    }

    async fn sort_requesters(
        &mut self,
        (parcels, published): Attempt,
        sorting: &mut Sorting<'_>,
    ) -> Result<(), BrokerError> {
        let published = published.map_err(|error| self.learn(error))?;
        let (returned, is_late) = self.sort(parcels, published, sorting);
        if is_late {
            self.requesters.renew().await?;
        }
        self.redirect(returned, &mut sorting.open);
        Ok(())
    }

    /// If the connection was lost, one of them may have cost it: each is published alone.
    fn sort_interpreted(&mut self, (parcels, published): Attempt, sorting: &mut Sorting<'_>) {
        let returned = match published {
            Ok(published) => {
                let (returned, is_late) = self.sort(parcels, published, sorting);
                if is_late {
                    self.interpreted = None;
                }
                returned
            }
            Err(error) => {
                tracing::debug!(%error, "replies to direct reply-to are published one by one");
                self.interpreted = None;
                sorting.left.extend(parcels.into_iter().map(Left::Alone));
                return;
            }
        };
        self.redirect(returned, &mut sorting.open);
    }

    /// Counts what is confirmed; returns what came back, and whether something is late.
    fn sort(
        &self,
        parcels: Vec<Parcel>,
        published: Published,
        sorting: &mut Sorting<'_>,
    ) -> (Vec<Parcel>, bool) {
        let Published::Partly { fates, unconfirmed } = published else {
            parcels
                .iter()
                .for_each(|parcel| sorting.tally.confirmed(parcel.says));
            return (Vec::new(), false);
        };
        let result_queue = &self.context.config.topology.result_queue;
        let (mut returned, mut late) = (Vec::new(), Vec::new());
        for (index, (parcel, fate)) in parcels.into_iter().zip(fates).enumerate() {
            match fate {
                Fate::Confirmed => sorting.tally.confirmed(parcel.says),
                Fate::Returned => returned.push(parcel),
                Fate::Refused => sorting.left.push(Left::Refused(parcel)),
                Fate::Unconfirmed => {
                    let destination = Destination::of(&parcel.message, result_queue);
                    self.context.destinations.remember(destination, Known::Slow);
                    late.push((index, parcel));
                }
            }
        }
        let is_late = unconfirmed
            .map(|unconfirmed| sorting.left.push(Left::Late(unconfirmed, late)))
            .is_some();
        (returned, is_late)
    }

    /// Replies that came back go to the result queue.
    fn redirect(&self, returned: Vec<Parcel>, open: &mut Vec<Parcel>) {
        let recorder = &self.context.recorder;
        let result_queue = &self.context.config.topology.result_queue;
        if !returned.is_empty()
            && let Some(replies) = recorder.returned.happened(returned.len() as u64)
        {
            warn!(
                replies,
                queue = result_queue,
                "nobody is behind the reply_to of some requests; their replies go to the result queue"
            );
        }
        open.extend(returned.into_iter().map(|mut parcel| {
            parcel.redirect(result_queue);
            parcel
        }));
    }

    fn learn(&self, error: BrokerError) -> BrokerError {
        if let BrokerError::TooLarge(limit) = error {
            self.context.size_limit.learn(limit);
        }
        error
    }

    /// After a message that was larger than the broker takes the channels are closed.
    pub(crate) async fn renew(&mut self) -> Result<(), BrokerError> {
        self.own.renew().await?;
        self.requesters.renew().await
    }
}

impl Parcel {
    /// A reply that its requester does not get goes to the result queue. False if it is none, or is
    /// on its way there already.
    pub fn redirect(&mut self, result_queue: &str) -> bool {
        let is_redirected = self.message.redirect(result_queue);
        if let Says::Reply(_, way) = &mut self.says
            && is_redirected
        {
            *way = Way::Returned;
        }
        is_redirected
    }
}

async fn publish(publisher: &mut Publisher, parcels: Vec<Parcel>) -> Attempt {
    let published = publisher.publish(&parcels, Some(PATIENCE)).await;
    (parcels, published)
}

async fn publish_interpreted(
    publisher: &mut Option<Publisher>,
    lines: &Lines,
    parcels: Vec<Parcel>,
) -> Attempt {
    if parcels.is_empty() {
        return (parcels, Ok(Published::Confirmed));
    }
    let opened = match publisher {
        Some(publisher) => publisher,
        None => match lines.interpreted.publisher().await {
            Ok(opened) => publisher.insert(opened),
            Err(error) => return (parcels, Err(error)),
        },
    };
    publish(opened, parcels).await
}
