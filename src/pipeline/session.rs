//! Connections and lanes: made together, ended together, and made anew when something is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::health::Part;
use super::hold::Holding;
use super::lane::{Lane, LaneEnd, Shared};
use super::shutdown::{self, Stop};
use super::suspects::Suspects;
use super::vitals::{Observed, Vitals};
use crate::broker::connection::{Connection, Frames};
use crate::broker::consumer::Subscription;
use crate::broker::error::BrokerError;
use crate::broker::publisher::Publisher;
use crate::broker::topology;
use crate::config::{TraceConfig, WorkerConfig};
use crate::domain::identity::IdSource;
use crate::store::directory::DirectoryKeeper;
use crate::store::error::StoreError;
use crate::store::migrate::{self, MigrateError};
use crate::store::pool::Store;
use crate::store::pooler;
use crate::telemetry::otlp::{self, Delivery};
use crate::telemetry::traces::{self, About, Traces};

/// Why a worker could not start. Once it has started nothing but a signal ends it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nothing that waiting would mend.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Nothing that waiting would mend.
    #[error(transparent)]
    Store(#[from] MigrateError),
    /// The operating system gives no random bytes.
    #[error("no random numbers from the operating system: {0}")]
    Random(#[from] getrandom::Error),
    /// Traces can't be sent.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: {0}")]
    Traces(String),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

/// How the worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All that was held is finished.
    Finished,
    /// Some of it was given back to the queue, since time ran out.
    GaveBack,
}

/// How long the other lanes may go on with their batches when one of them has lost the broker.
const TEAR_DOWN_MAX: Duration = Duration::from_secs(5);

/// The end of a worker waits so long for its last spans to be sent, as part of the grace period and at most.
const LAST_SPANS_SHARE: f64 = 0.1;
const LAST_SPANS_MAX: Duration = Duration::from_secs(3);

/// So many sessions in a row that were lost before anything was settled: perhaps a request is to blame, by its form or by what is to be said about it. Each loss counts against all that the
/// broker had handed over, so the next session takes one request at a time: the culprit then counts
/// alone, and the broker gives it up alone.
const FRUITLESS_MAX: u32 = 2;

/// How long a session that takes one request at a time goes on before all is believed to be well.
const CAUTION_LASTS: Duration = Duration::from_secs(30);

/// A worker that can be run.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    name: String,
    ids: IdSource,
    store: Store,
    vitals: Arc<Vitals>,
    /// Of spans, if requests are recorded.
    delivery: Option<Delivery>,
}

impl Worker {
    /// Nothing is connected yet. `name` is what people find it by.
    pub fn new(config: WorkerConfig, name: String) -> Result<Self, StartError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        // One connection for each lane, and one for the directory.
        let store = Store::new(&config.database_url, config.lanes + 1)?;
        let (traces, delivery) = match &config.traces {
            Some(traces) => {
                let (traces, delivery) = open_traces(traces, &config, &name).map_err(StartError::Traces)?;
                (Some(traces), Some(delivery))
            }
            None => (None, None),
        };
        let vitals = Arc::new(Vitals::new(store.clone(), traces));
        Ok(Self { config, name, ids: IdSource::from_random(random), store, vitals, delivery })
    }

    /// What can be seen of it from outside.
    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }

    /// Runs until it is asked to stop.
    ///
    /// At start it waits for servers that can't be reached, and gives up on those that refuse it:
    /// somebody is there to read why. Later it waits for either.
    pub async fn run(self, mut stop: Stop) -> Result<End, StartError> {
        let Self { config, name, ids, store, vitals, delivery } = self;
        let directory = tokio::select! {
            () = stop.requested() => return Ok(End::Finished),
            directory = wait_for_database(&store, &vitals) => directory?,
        };
        let mut upkeep = JoinSet::new();
        upkeep.spawn(directory.clone().run());
        let shared = Arc::new(Shared {
            config,
            store,
            directory,
            ids,
            worker: name,
            settled: AtomicU64::new(0),
            holding: Holding::default(),
            suspects: Suspects::default(),
            vitals,
        });
        let delivering = delivery.map(Delivery::start);
        let end = supervise(&shared, stop).await;
        if let Some(delivering) = delivering {
            let grace = shared.config.shutdown_grace;
            delivering.finish(grace.mul_f64(LAST_SPANS_SHARE).min(LAST_SPANS_MAX)).await;
        }
        end
    }
}

/// What records requests, and what sends the records.
fn open_traces(traces: &TraceConfig, config: &WorkerConfig, name: &str) -> Result<(Traces, Delivery), String> {
    let resource = traces::resource(&traces.service_name, name);
    let (spans, delivery) = otlp::open(&traces.endpoint, &traces.headers, &resource)?;
    let about = About {
        request_queue: config.topology.request_queue.clone(),
        broker: traces::server(&config.broker_url.address()),
        database: traces::server(&config.database_url.address()),
        database_name: config.database_url.name().map(str::to_owned),
    };
    Ok((Traces::new(spans, traces.ratio, about), delivery))
}

/// Waits until the database can be reached, has the schema, and tells who may do what.
async fn wait_for_database(store: &Store, vitals: &Vitals) -> Result<DirectoryKeeper, MigrateError> {
    let address = store.url().address();
    let mut backoff = Backoff::new();
    let mut waiting = false;
    loop {
        let attempt = async {
            migrate::check(store).await?;
            pooler::check(store).await?;
            Ok(DirectoryKeeper::load(store).await?)
        };
        match attempt.await {
            Ok(directory) => {
                info!("connected to PostgreSQL at {address}");
                vitals.knows(&directory);
                vitals.health.well(Part::Database);
                return Ok(directory);
            }
            Err(MigrateError::Store(
                error @ (StoreError::Unavailable(_) | StoreError::Slow(_) | StoreError::Conflict(_)),
            )) => {
                vitals.database_failed(&error);
                vitals.health.trouble(Part::Database, format!("waiting for PostgreSQL at {address}: {error}"));
                if !waiting {
                    warn!("waiting for PostgreSQL at {address}: {error}");
                    waiting = true;
                }
                backoff.wait().await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Holds one session after the other.
async fn supervise(shared: &Arc<Shared>, mut stop: Stop) -> Result<End, StartError> {
    let health = &shared.vitals.health;
    let mut backoff = Backoff::new();
    let mut started = false;
    let mut complained = None;
    let mut fruitless = 0;
    loop {
        if started {
            // To take requests and lose them again may count against each of them.
            wait_for_room(shared, &mut stop).await;
        }
        let settled_before = shared.settled.load(Ordering::Relaxed);
        let cautious = fruitless >= FRUITLESS_MAX;
        let opened = tokio::select! {
            biased;
            () = stop.requested() => return Ok(End::Finished),
            opened = Session::open(shared, cautious) => opened,
        };
        match opened {
            Ok(session) => {
                (started, complained) = (true, None);
                let end = session.run(stop.clone()).await;
                let suspect = shared.suspects.left_unfinished();
                shared.suspects.clear(&shared.store).await;
                let has_settled = shared.settled.load(Ordering::Relaxed) > settled_before;
                if has_settled {
                    backoff.reset();
                }
                match end {
                    Some(LaneEnd::Finished) => return Ok(End::Finished),
                    Some(LaneEnd::OutOfTime) => return Ok(End::GaveBack),
                    Some(LaneEnd::Parked) => {
                        shared.vitals.metrics.parks.inc();
                        health.trouble(Part::Database, "parked: the database was away for too long");
                        warn!("parked: requests are back in the queue until the database can store them");
                    }
                    Some(LaneEnd::Lost(error)) => {
                        warn!(%error, "lost RabbitMQ; connecting again");
                        shared.vitals.broker_failed(&error);
                        // A suspect that was under way is to blame by itself. While one at a time is taken,
                        // the others get through between two losses.
                        fruitless = match (suspect, has_settled && !cautious) {
                            (true, _) => FRUITLESS_MAX,
                            (false, true) => 0,
                            (false, false) => fruitless + 1,
                        };
                    }
                    None => {
                        info!("nothing was lost for a while: taking many requests at a time again");
                        fruitless = 0;
                    }
                }
            }
            Err(SessionError::Subscribing(error)) if started => {
                warn!(%error, "lost RabbitMQ while subscribing; connecting again");
                shared.vitals.broker_failed(&error);
                health.trouble(Part::Broker, format!("lost RabbitMQ while subscribing: {error}"));
                fruitless += 1;
            }
            Err(SessionError::Connecting(error) | SessionError::Subscribing(error))
                if !error.is_temporary() && !started =>
            {
                return Err(error.into());
            }
            Err(SessionError::Connecting(error) | SessionError::Subscribing(error)) => {
                // Once per reason, not once per attempt.
                let text = error.to_string();
                health.trouble(Part::Broker, format!("waiting for RabbitMQ: {text}"));
                if complained.as_ref() != Some(&text) {
                    warn!("waiting for RabbitMQ: {text}");
                    complained = Some(text);
                }
            }
        }
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(End::Finished),
            () = backoff.wait() => {}
        }
    }
}

/// Waits until the database can store a profile.
async fn wait_for_room(shared: &Shared, stop: &mut Stop) {
    let mut backoff = Backoff::new();
    let mut waiting = false;
    let answers = async {
        while let Err(error) = shared.store.probe().await {
            let words = format!("no requests are taken until the database can store them: {error}");
            shared.vitals.database_failed(&error);
            shared.vitals.health.trouble(Part::Database, words);
            if !waiting {
                info!(%error, "taking no requests until the database can store them");
                waiting = true;
            }
            backoff.wait().await;
        }
        if waiting {
            info!("the database is back");
        }
        shared.vitals.health.well(Part::Database);
    };
    tokio::select! {
        () = stop.requested() => {}
        () = answers => {}
    }
}

/// Why a session could not be opened.
enum SessionError {
    /// The broker is not there, or not as it should be.
    Connecting(BrokerError),
    /// It was there, but then the first requests came in.
    Subscribing(BrokerError),
}

/// Two connections and the lanes on them.
struct Session {
    cautious: bool,
    consuming: Connection,
    publishing: Connection,
    publishers: Vec<Publisher>,
    subscription: Arc<Subscription>,
    shared: Arc<Shared>,
}

impl Session {
    /// A cautious one takes one request at a time.
    async fn open(shared: &Arc<Shared>, cautious: bool) -> Result<Self, SessionError> {
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
    async fn run(self, mut stop: Stop) -> Option<LaneEnd> {
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
