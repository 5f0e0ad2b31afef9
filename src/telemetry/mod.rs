//! What the worker says of itself: logs.

pub mod logs;
