//! A session: two connections and the lanes on them, made together and ended together.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::broker::connection::{Connection, Frames};
use crate::broker::error::BrokerError;
use crate::broker::publisher::Publisher;
use crate::broker::subscription::Subscription;
use crate::broker::topology;
use crate::pipeline::health::Part;
use crate::pipeline::lane::{Lane, LaneEnd, Shared};
use crate::pipeline::shutdown::{self, Stop};
use crate::pipeline::vitals::Observed;

/// How long the other lanes may go on with their batches when one of them has lost the broker.
const TEAR_DOWN_MAX: Duration = Duration::from_secs(5);

/// How long a session that takes one request at a time goes on before all is believed to be well.
const CAUTION_LASTS: Duration = Duration::from_secs(30);

/// Why a session could not be opened.
pub(super) enum SessionError {
    /// The broker is not there, or not as it should be.
    Connecting(BrokerError),
    /// It was there, but then the first requests came in.
    Subscribing(BrokerError),
}

/// Two connections and the lanes on them.
pub(super) struct Session {
    cautious: bool,
    consuming: Connection,
    publishing: Connection,
    publishers: Vec<Publisher>,
    subscription: Arc<Subscription>,
    shared: Arc<Shared>,
}

impl Session {
    /// A cautious one takes one request at a time.
    pub(super) async fn open(shared: &Arc<Shared>, cautious: bool) -> Result<Self, SessionError> {
        let config = &shared.config;
        let (publishing, consuming) = Self::connect(shared).await.map_err(SessionError::Connecting)?;
        let (lanes, prefetch) = if cautious { (1, 1) } else { (config.lanes, config.prefetch) };
        let mut publishers = Vec::with_capacity(lanes);
        for _ in 0..lanes {
            publishers.push(Publisher::open(&publishing).await.map_err(SessionError::Connecting)?);
        }
        let subscription =
            Subscription::open(&consuming, &config.topology.request_queue, prefetch, config.body_max).await;
        let subscription = Arc::new(subscription.map_err(SessionError::Subscribing)?);
        info!(
            lanes,
            "connected to RabbitMQ at {}; taking requests from {}",
            address(&publishing, &consuming),
            config.topology.request_queue
        );
        if cautious {
            const WORDS: &str = "taking one request at a time, as one may be to blame for the losses";
            warn!("{WORDS}");
            shared.vitals.health.trouble(Part::Broker, WORDS);
        }
        Ok(Self { cautious, consuming, publishing, publishers, subscription, shared: shared.clone() })
    }

    /// The connections to publish and to consume on.
    async fn connect(shared: &Shared) -> Result<(Connection, Connection), BrokerError> {
        let config = &shared.config;
        let name = |role: &str| format!("{} {role}", shared.worker);
        let publishing = Connection::open(&config.broker_url, &name("publishing"), Frames::Small).await?;
        topology::ensure(&publishing, &config.topology).await?;
        let consuming = publishing.open_another(&name("consuming"), Frames::Large).await?;
        Ok((publishing, consuming))
    }

    /// Runs the lanes until all have ended, which they do as soon as one has. The result is the
    /// first lane's reason; `None` if the session was cautious for long enough.
    pub(super) async fn run(self, mut stop: Stop) -> Option<LaneEnd> {
        let vitals = self.shared.vitals.clone();
        let _observation = vitals.observe(Observed {
            consuming: self.consuming.clone(),
            publishing: self.publishing.clone(),
            subscription: self.subscription.clone(),
        });
        // What lanes of an earlier session have waited for these say anew.
        vitals.health.well(Part::Queues);
        if !self.cautious {
            vitals.health.well(Part::Broker);
        }
        let (lanes_stop, lane_stop) = shutdown::channel();
        let mut lanes = JoinSet::new();
        for publisher in self.publishers {
            let lane = Lane::new(self.shared.clone(), self.subscription.clone(), publisher);
            lanes.spawn(lane.run(lane_stop.clone()));
        }
        let mut enough_caution = false;
        let first = tokio::select! {
            () = stop.requested() => {
                info!("stopping: finishing what is held");
                vitals.health.trouble(Part::Worker, "stopping");
                None
            }
            () = tokio::time::sleep(CAUTION_LASTS), if self.cautious => {
                enough_caution = true;
                None
            }
            ended = lanes.join_next() => ended.map(unpanicked).map(unasked),
        };
        if let Some(LaneEnd::Lost(error)) = &first {
            vitals.health.trouble(Part::Broker, format!("lost RabbitMQ: {error}"));
        }
        let patience = if first.is_some() { TEAR_DOWN_MAX } else { self.shared.config.shutdown_grace };
        lanes_stop.stop(patience);
        let rest = tokio::time::timeout(patience, async {
            let (cancelled, rest) = tokio::join!(self.subscription.cancel(), collect(&mut lanes));
            if let Err(error) = cancelled {
                debug!(%error, "the subscription did not end in order");
            }
            rest
        });
        let rest = rest.await.unwrap_or(Some(LaneEnd::OutOfTime));
        lanes.shutdown().await;
        let end = first.or(rest).unwrap_or(LaneEnd::Finished);
        if !matches!(end, LaneEnd::Lost(_))
            && let Err(error) = self.subscription.requeue_all().await
        {
            debug!(%error, "could not give back what was held; the broker does it when the connection closes");
        }
        self.consuming.close().await;
        self.publishing.close().await;
        let is_over = matches!(end, LaneEnd::Finished | LaneEnd::OutOfTime);
        if enough_caution && is_over && !stop.is_requested() { None } else { Some(end) }
    }
}

/// Where the connections of a session lead to: to one server, unless that went away between the two.
fn address(publishing: &Connection, consuming: &Connection) -> String {
    let [publishing, consuming] = [publishing.address(), consuming.address()];
    if publishing == consuming { consuming } else { format!("{consuming} (publishing at {publishing})") }
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
    ended.unwrap_or_else(|error| LaneEnd::Lost(BrokerError::Lost(format!("a lane ended by itself: {error}"))))
}
