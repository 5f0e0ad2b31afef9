//! The composition root: what is made once in the life of a process.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::task::JoinSet;

use super::end::{End, StartError};
use super::startup::wait_for_database;
use super::supervisor::supervise;
use crate::config::{TraceConfig, WorkerConfig};
use crate::domain::identity::IdSource;
use crate::observe::recorder::Recorder;
use crate::pipeline::context::Context;
use crate::pipeline::destinations::{Destinations, SizeLimit};
use crate::pipeline::shutdown::Stop;
use crate::pipeline::store_retry::StoreTrouble;
use crate::pipeline::suspects::Suspects;
use crate::status::WorkerStatus;
use crate::store::pool::Store;
use crate::telemetry::otlp::{self, Exporter};
use crate::telemetry::traces::{self, Origin, Traces};

/// The end of a worker waits so long for its last spans to be sent, as part of the grace period and
/// at most.
const LAST_SPANS_SHARE: f64 = 0.1;
const LAST_SPANS_MAX: Duration = Duration::from_secs(3);

/// A worker that can be run.
#[derive(Debug)]
pub(crate) struct Worker {
    config: WorkerConfig,
    name: String,
    ids: IdSource,
    store: Store,
    status: Arc<WorkerStatus>,
    /// Of spans, if requests are recorded.
    exporter: Option<Exporter>,
}

impl Worker {
    /// Nothing is connected yet. `name` is what people find it by.
    pub(crate) fn new(config: WorkerConfig, name: String) -> Result<Self, StartError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        // One connection for each lane, and one for the directory.
        let store = Store::new(&config.database_url, config.lanes + 1)?;
        let (traces, exporter) = match &config.traces {
            Some(traces) => {
                let (traces, exporter) =
                    open_traces(traces, &config, &name).map_err(StartError::Traces)?;
                (Some(traces), Some(exporter))
            }
            None => (None, None),
        };
        let recorder = Arc::new(Recorder::new(traces));
        let status = Arc::new(WorkerStatus::new(store.clone(), recorder));
        Ok(Self {
            config,
            name,
            ids: IdSource::from_random(random),
            store,
            status,
            exporter,
        })
    }

    /// What can be seen of it from outside.
    pub(crate) fn status(&self) -> &Arc<WorkerStatus> {
        &self.status
    }

    /// Runs until it is asked to stop.
    ///
    /// At start it waits for servers that can't be reached, and gives up on those that refuse it:
    /// somebody is there to read why. Later it waits for either.
    pub(crate) async fn run(self, mut stop: Stop) -> Result<End, StartError> {
        let Self {
            config,
            name,
            ids,
            store,
            status,
            exporter,
        } = self;
        let directory = tokio::select! {
            () = stop.requested() => return Ok(End::Finished),
            directory = wait_for_database(&store, &status) => directory?,
        };
        let mut upkeep = JoinSet::new();
        upkeep.spawn(directory.clone().run());
        let context = Arc::new(Context {
            config,
            store,
            directory,
            ids,
            worker: name,
            settled: AtomicU64::new(0),
            store_trouble: StoreTrouble::default(),
            suspects: Suspects::default(),
            destinations: Destinations::default(),
            size_limit: SizeLimit::default(),
            recorder: status.recorder().clone(),
        });
        let exporting = exporter.map(Exporter::start);
        let end = supervise(&context, &status, stop).await;
        if let Some(exporting) = exporting {
            let grace = context.config.shutdown_grace;
            exporting
                .finish(grace.mul_f64(LAST_SPANS_SHARE).min(LAST_SPANS_MAX))
                .await;
        }
        end
    }
}

/// What records requests, and what sends the records.
fn open_traces(
    traces: &TraceConfig,
    config: &WorkerConfig,
    name: &str,
) -> Result<(Traces, Exporter), String> {
    let resource = traces::resource(&traces.service_name, name);
    let (spans, exporter) = otlp::open(&traces.endpoint, &traces.headers, &resource)?;
    let about = Origin {
        request_queue: config.topology.request_queue.clone(),
        broker: traces::server(&config.broker_url.address()),
        database: traces::server(&config.database_url.address()),
        database_name: config.database_url.name().map(str::to_owned),
    };
    Ok((Traces::new(spans, traces.ratio, about), exporter))
}
