//! What the worker says of itself: logs and metrics.

pub mod labels;
pub mod logs;
pub mod metrics;
pub mod process;
