//! What those who do the work record of it, for operators: counted, timed, and said in the log
//! once.
//!
//! Nothing is measured by a timer, and a worker that nobody looks at pays for some additions per
//! batch. [`crate::status`] looks at it.

pub(crate) mod health;
pub(crate) mod progress;
pub(crate) mod reasons;
pub(crate) mod recorder;
