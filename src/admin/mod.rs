//! The HTTP port for operators and their machines: health, readiness, metrics. It only reads.
//!
//! | path | what |
//! |---|---|
//! | `/live` | 200 while the process works: restart it if this does not answer |
//! | `/ready` | 200 if the worker takes requests and can store and answer them, else 503 and the reasons, a line each |
//! | `/metrics` | for Prometheus |
//! | `/status` | JSON, for people and scripts |
//!
//! Nobody is asked who they are, so it listens on loopback unless told otherwise.

pub mod client;
mod server;
mod status;

pub use server::Server;
