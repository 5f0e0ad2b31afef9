//! What `run` needs.

use std::net::SocketAddr;
use std::time::Duration;

use super::parse::{admin_address, body_max, count, duration, one_of};
use super::setting;
use super::source::{Problems, Source};
use super::traces::TraceConfig;
use crate::broker::topology::{QueueType, TopologySettings};
use crate::broker::turns::LANES_MAX;
use crate::broker::url::BrokerUrl;
use crate::store::url::DatabaseUrl;
use crate::telemetry::logs::LogConfig;

/// All that a worker needs to know.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// `AMQP_URL`
    pub broker_url: BrokerUrl,
    /// `DATABASE_URL`
    pub database_url: DatabaseUrl,
    /// The queues and the exchange.
    pub topology: TopologySettings,
    /// `LANES`
    pub lanes: usize,
    /// `BATCH_MAX`
    pub batch_max: usize,
    /// `PREFETCH`
    pub prefetch: u16,
    /// `BODY_MAX`, in bytes.
    pub body_max: u64,
    /// `PARK_AFTER`
    pub park_after: Duration,
    /// `SHUTDOWN_GRACE`
    pub shutdown_grace: Duration,
    /// `ADMIN_ADDR`
    pub admin: Option<AdminAddress>,
    /// Where traces go, if anywhere.
    pub traces: Option<TraceConfig>,
}

/// Where health, status and metrics are to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminAddress {
    /// To listen on.
    pub address: SocketAddr,
    /// Nobody has asked for this very address: another worker of the machine may have it.
    pub is_default: bool,
}

/// RabbitMQ refuses more from version 4.3 on.
const QUORUM_PREFETCH_MAX: u16 = 2000;

impl Source {
    /// What `run` needs, and how it logs.
    pub fn worker(mut self) -> Result<(WorkerConfig, LogConfig), Problems> {
        let log = self.read_log();
        let worker = self.read_worker();
        self.finish(worker.zip(log))
    }

    fn read_log(&mut self) -> Option<LogConfig> {
        let json = self.read(setting::LOG_FORMAT, |text| {
            one_of(text, &[("text", false), ("json", true)])
        });
        let filter = self.read(setting::RUST_LOG, |text| {
            tracing_subscriber::EnvFilter::try_new(text)
                .map(|_| text.to_owned())
                .map_err(|error| format!("is no log filter: {error}"))
        });
        let (json, filter) = json.zip(filter)?;
        Some(LogConfig { json, filter })
    }

    fn read_worker(&mut self) -> Option<WorkerConfig> {
        let broker_url = self.read(setting::AMQP_URL, BrokerUrl::parse);
        let database_url = self.read(setting::DATABASE_URL, DatabaseUrl::parse);
        let topology = self.read_topology();
        let lanes = self.read(setting::LANES, |text| count(text, 1, LANES_MAX));
        let batch_max = self.read(setting::BATCH_MAX, |text| count(text, 1, 10_000));
        let prefetch = self.read(setting::PREFETCH, |text| count(text, 1, u16::MAX));
        let body_max = self.read(setting::BODY_MAX, body_max);
        // RabbitMQ takes back what is not acknowledged after 30 minutes.
        let park_after = self.read(setting::PARK_AFTER, |text| {
            duration(text, Duration::from_secs(1), Duration::from_secs(1200))
        });
        let shutdown_grace = self.read(setting::SHUTDOWN_GRACE, |text| {
            duration(text, Duration::from_secs(1), Duration::from_secs(3600))
        });
        let admin = self.read_admin();
        let traces = self.read_traces();
        let (topology, prefetch) = topology.zip(prefetch)?;
        if topology.queue_type == QueueType::Quorum && prefetch > QUORUM_PREFETCH_MAX {
            self.problems.push(format!(
                "PREFETCH: quorum queues allow at most {QUORUM_PREFETCH_MAX}"
            ));
        }
        Some(WorkerConfig {
            broker_url: broker_url?,
            database_url: database_url?,
            topology,
            lanes: lanes?,
            batch_max: batch_max?,
            prefetch,
            body_max: body_max?,
            park_after: park_after?,
            shutdown_grace: shutdown_grace?,
            admin: admin?,
            traces: traces?,
        })
    }

    fn read_admin(&mut self) -> Option<Option<AdminAddress>> {
        let is_default = !self.texts.contains_key(setting::ADMIN_ADDR.name);
        let address = self.read(setting::ADMIN_ADDR, admin_address)?;
        Some(address.map(|address| AdminAddress {
            address,
            is_default,
        }))
    }
}
