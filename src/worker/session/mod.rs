//! A session: connections and the lanes on them, made together and ended together.

mod ends;
mod run;

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::broker::connection::{Connection, Frames};
use crate::broker::consumer::RequestConsumer;
use crate::broker::error::BrokerError;
use crate::broker::{setup, topology};
use crate::observe::health::Part;
use crate::pipeline::context::Context;
use crate::pipeline::deferred::Deferred;
use crate::pipeline::destinations::TRIED_BYTES;
use crate::pipeline::lane::LaneEnd;
use crate::pipeline::lane_publisher::LanePublisher;
use crate::pipeline::publishing_connections::PublishingConnections;

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
    publishers: Vec<LanePublisher>,
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
        let mut publishers = Vec::with_capacity(lanes);
        for _ in 0..lanes {
            publishers.push(LanePublisher::open(context, &connections).await?);
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
            publishers,
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
