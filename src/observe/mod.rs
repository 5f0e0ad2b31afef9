//! What operators see of a worker.
//!
//! Whoever does the work records it ([`recorder`], [`progress`], [`health`]); whoever asks gets a
//! [`snapshot`] of what changes by itself ([`status`]), as text for Prometheus ([`exposition`]) or
//! as JSON ([`crate::admin`]). Nothing is measured by a timer.

mod exposition;
pub mod health;
pub mod progress;
pub mod reasons;
pub mod recorder;
pub mod snapshot;
pub mod status;
