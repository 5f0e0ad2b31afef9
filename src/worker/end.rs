//! How a worker ends, and why one could not start.

use crate::broker::error::BrokerError;
use crate::store::error::StoreError;
use crate::store::schema::MigrateError;

/// Why a worker could not start. Once it has started nothing but a signal ends it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
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
pub(crate) enum End {
    /// All that was held is finished.
    Finished,
    /// Some of it was given back to the queue, since time ran out.
    GaveBack,
}
