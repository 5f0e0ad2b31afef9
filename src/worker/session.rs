//! A session: connections and the lanes on them, made together and ended together.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::caution::CALM;
use crate::broker::connection::{Connection, Frames};
use crate::broker::consumer::RequestConsumer;
use crate::broker::error::BrokerError;
use crate::broker::{setup, topology};
use crate::observe::health::Part;
use crate::pipeline::context::Context;
use crate::pipeline::deferred::Deferred;
use crate::pipeline::destinations::TRIED_BYTES;
use crate::pipeline::lane::{Lane, LaneEnd};
use crate::pipeline::lane_publisher::LanePublisher;
use crate::pipeline::publishing_connections::PublishingConnections;
use crate::pipeline::shutdown::{self, Stop};
use crate::status::{Observed, WorkerStatus};

/// How long the other lanes may go on with their batches when one of them has lost the broker.
const TEAR_DOWN_MAX: Duration = Duration::from_secs(5);

/// How a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// As its lanes did, after so long.
    Lane(LaneEnd, Duration),
    /// It took one request at a time, and nothing was lost.
    CautiousForLong,
}

/// Connections and the lanes on them.
pub(super) struct Session {
    context: Arc<Context>,
    is_cautious: bool,
    consuming: Connection,
    connections: Arc<PublishingConnections>,
    consumer: Arc<RequestConsumer>,
    deferred: Arc<Deferred>,
    publisher: Vec<LanePublisher>,
}

impl Session {
    /// A cautious one takes one request at a time. `missing` is what the last one could not do
    /// without: there is no session before it is there.
    pub(super) async fn open(
        context: &Arc<Context>,
        is_cautious: bool,
        missing: Option<&BrokerError>,
    ) -> Result<Self, BrokerError> {
        let config = &context.config;
        let name = |role: &str| format!("{} {role}", context.worker);
        let publishing =
            Connection::open(&config.broker_url, &name("publishing"), Frames::Small).await?;
        Self::check(context, &publishing, missing).await?;
        let consuming = publishing
            .open_another(&name("consuming"), Frames::Large)
            .await?;
        let (lanes, prefetch) = if is_cautious {
            (1, 1)
        } else {
            (config.lanes, config.prefetch)
        };
        let connections = Arc::new(PublishingConnections::new(publishing, &context.worker));
        let mut publisher = Vec::with_capacity(lanes);
        for _ in 0..lanes {
            publisher.push(LanePublisher::open(context, &connections).await?);
        }
        let request_queue = &config.topology.request_queue;
        let consumer =
            RequestConsumer::open(&consuming, request_queue, prefetch, config.body_max).await?;
        let consumer = Arc::new(consumer);
        let address = address(&connections.publishing, &consuming);
        info!(
            lanes,
            "connected to RabbitMQ at {address}; taking requests from {request_queue}"
        );
        if is_cautious {
            const WORDS: &str = "taking one request at a time, because RabbitMQ ends the connection again and \
                                 again: it may be unable to deliver one (docs/faults.md, 541)";
            warn!("{WORDS}");
            context.recorder.health.trouble(Part::Broker, WORDS);
        }
        let deferred = Deferred::new(context.clone(), consumer.clone(), connections.clone());
        Ok(Self {
            context: context.clone(),
            is_cautious,
            consuming,
            connections,
            consumer,
            deferred,
            publisher,
        })
    }

    /// Whether all is there that requests need, and what of it may be published.
    async fn check(
        context: &Context,
        publishing: &Connection,
        missing: Option<&BrokerError>,
    ) -> Result<(), BrokerError> {
        let settings = &context.config.topology;
        topology::ensure(publishing, settings).await?;
        setup::check(publishing, settings).await?;
        if let Some(BrokerError::Unroutable(queue)) = missing {
            setup::check_queue(publishing, queue).await?;
        }
        context.size_limit.forget();
        match setup::check_size(publishing, settings, TRIED_BYTES).await {
            Ok(()) => context.size_limit.takes(TRIED_BYTES),
            Err(BrokerError::TooLarge(limit)) => context.size_limit.learn(limit),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Runs the lanes until all have ended, which they do as soon as one has.
    pub(super) async fn run(self, status: &Arc<WorkerStatus>, mut stop: Stop) -> Ended {
        let began_at = Instant::now();
        let recorder = self.context.recorder.clone();
        let _observation = status.observe(Observed {
            consuming: self.consuming.clone(),
            publishing: self.connections.publishing.clone(),
            consumer: self.consumer.clone(),
            deferred: self.deferred.clone(),
        });
        if !self.is_cautious {
            recorder.health.well(Part::Broker);
        }
        let (lanes_stop, lane_stop) = shutdown::channel();
        let mut lanes = JoinSet::new();
        for publisher in self.publisher {
            let lane = Lane::new(
                self.context.clone(),
                self.consumer.clone(),
                publisher,
                self.deferred.clone(),
            );
            lanes.spawn(lane.run(lane_stop.clone()));
        }
        let mut is_cautious_for_long = false;
        let first = tokio::select! {
            () = stop.requested() => {
                info!("stopping: finishing what is held");
                recorder.health.trouble(Part::Worker, "stopping");
                None
            }
            () = tokio::time::sleep(CALM), if self.is_cautious => {
                is_cautious_for_long = true;
                None
            }
            error = self.deferred.failed() => Some(LaneEnd::Lost(error)),
            ended = lanes.join_next() => ended.map(unpanicked).map(unasked),
        };
        let after = began_at.elapsed();
        if let Some(LaneEnd::Lost(error)) = &first {
            recorder
                .health
                .trouble(Part::Broker, format!("lost RabbitMQ: {error}"));
        }
        let patience = if first.is_some() {
            TEAR_DOWN_MAX
        } else {
            self.context.config.shutdown_grace
        };
        lanes_stop.stop(patience);
        let mut out_of_time = lane_stop.clone();
        let rest = tokio::time::timeout(patience, async {
            let (cancelled, rest) = tokio::join!(self.consumer.cancel(), collect(&mut lanes));
            if let Err(error) = cancelled {
                debug!(%error, "the subscription did not end in order");
            }
            if first.is_none() {
                tokio::select! {
                    () = self.deferred.until_idle() => {}
                    () = out_of_time.out_of_time() => return Some(LaneEnd::OutOfTime),
                }
            }
            rest
        });
        let rest = rest.await.unwrap_or(Some(LaneEnd::OutOfTime));
        lanes.shutdown().await;
        self.deferred.end().await;
        let end = first.or(rest).unwrap_or(LaneEnd::Finished);
        if gives_back(&end)
            && let Err(error) = self.consumer.give_back_all().await
        {
            debug!(%error, "could not give back what was held; the broker does it when the connection closes");
        }
        if gives_back(&end) {
            tokio::select! {
                () = self.consumer.until_acks_are_taken() => {}
                // What is left of the grace period is for closing in order.
                () = stop.out_of_time() => {}
            }
        }
        self.consuming.close().await;
        self.connections.close().await;
        let is_over = matches!(end, LaneEnd::Finished | LaneEnd::OutOfTime);
        if is_cautious_for_long && is_over && !stop.is_requested() {
            Ended::CautiousForLong
        } else {
            Ended::Lane(end, after)
        }
    }
}

/// Whether there is still a broker to give something back to.
fn gives_back(end: &LaneEnd) -> bool {
    match end {
        LaneEnd::Lost(error) => error.is_setup(),
        LaneEnd::Finished | LaneEnd::OutOfTime | LaneEnd::Parked => true,
    }
}

/// Where the connections of a session lead to: to one server, unless that went away between the
/// two.
fn address(publishing: &Connection, consuming: &Connection) -> String {
    let [publishing, consuming] = [publishing.address(), consuming.address()];
    if publishing == consuming {
        consuming
    } else {
        format!("{consuming} (publishing at {publishing})")
    }
}

/// Nobody has asked for the end of the subscription yet.
fn unasked(end: LaneEnd) -> LaneEnd {
    match end {
        LaneEnd::Finished => LaneEnd::Lost(BrokerError::Cancelled),
        other => other,
    }
}

/// Why the lanes have ended, if not all of them have finished: that one ran out of time says the
/// most, as something is given back then.
async fn collect(lanes: &mut JoinSet<LaneEnd>) -> Option<LaneEnd> {
    let mut reason = None;
    while let Some(ended) = lanes.join_next().await {
        let end = unpanicked(ended);
        if !matches!(end, LaneEnd::Finished) && !matches!(reason, Some(LaneEnd::OutOfTime)) {
            reason = Some(end);
        }
    }
    reason
}

/// A lane that panics is a fault of ours outside the part where one message is to blame; the
/// session ends, and its requests are delivered again.
fn unpanicked(ended: Result<LaneEnd, tokio::task::JoinError>) -> LaneEnd {
    ended.unwrap_or_else(|error| {
        LaneEnd::Lost(BrokerError::Lost(format!(
            "a lane ended by itself: {error}"
        )))
    })
}
