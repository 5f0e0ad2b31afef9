//! What is recorded by whoever does the work: metrics, health, traces, and lines of the log that
//! would repeat themselves.

use super::health::Health;
use crate::broker::error::BrokerError;
use crate::store::error::StoreError;
use crate::telemetry::labels::{FailureKind, LossCause};
use crate::telemetry::logs::RateLimitedLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Traces;

/// The records of one worker, from its start to its end.
#[derive(Debug)]
pub struct Recorder {
    /// Counted up by whoever does the work.
    pub metrics: Metrics,
    /// Reported to by whoever waits for a server.
    pub health: Health,
    /// If requests are recorded.
    pub traces: Option<Traces>,
    /// Replies that their requesters do not get.
    pub returned: RateLimitedLog,
    /// Messages that wait for a queue that does not confirm.
    pub unconfirmed: RateLimitedLog,
    /// Unreadable messages that were dropped.
    pub dropped: RateLimitedLog,
}

impl Recorder {
    /// Nothing is recorded yet.
    pub fn new(traces: Option<Traces>) -> Self {
        Self {
            metrics: Metrics::default(),
            health: Health::default(),
            traces,
            returned: RateLimitedLog::default(),
            unconfirmed: RateLimitedLog::default(),
            dropped: RateLimitedLog::default(),
        }
    }

    /// A session was lost.
    pub fn broker_failed(&self, error: &BrokerError) {
        let cause = match error {
            BrokerError::Refused(_)
            | BrokerError::RefusedTopic { .. }
            | BrokerError::TooLarge(_) => LossCause::Refused,
            BrokerError::Fault(_) => LossCause::Fault,
            BrokerError::Lost(_) => LossCause::Lost,
            BrokerError::TimedOut(..) => LossCause::TimedOut,
            BrokerError::Cancelled => LossCause::Cancelled,
            BrokerError::Unroutable(_) => LossCause::Unroutable,
        };
        self.metrics.broker_losses.of(cause).inc();
    }

    /// An attempt to use the database failed.
    pub fn database_failed(&self, error: &StoreError) {
        let kind = match error {
            StoreError::Unavailable(_) | StoreError::Unwell(_) => FailureKind::Unavailable,
            StoreError::Setup(_) | StoreError::Denied { .. } => FailureKind::Setup,
            StoreError::Slow(_) => FailureKind::Slow,
            StoreError::Conflict(_) => FailureKind::Conflict,
            StoreError::Refused(_) => FailureKind::Refused,
        };
        self.metrics.database_failures.of(kind).inc();
    }
}
