//! What the worker says of itself: logs, metrics and traces.

pub mod context;
mod http;
pub mod labels;
pub mod logs;
pub mod metrics;
mod names;
pub mod otlp;
pub mod process;
pub mod traces;
