//! What the worker says of itself: logs, metrics and traces.

pub(crate) mod context;
mod http;
pub mod labels;
pub(crate) mod logs;
pub mod metrics;
mod names;
pub(crate) mod otlp;
pub(crate) mod process;
pub(crate) mod traces;
