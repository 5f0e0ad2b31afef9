//! RabbitMQ: connections, topology, taking requests in, publishing with confirms. The only module
//! that names `lapin`.
//!
//! It does not know what a request says; it moves bytes and properties, and says what became of
//! them. Every wait for the broker ends by itself (see [`error::BrokerError::TimedOut`]).

pub mod connection;
pub mod consumer;
pub mod error;
mod incoming;
mod intake;
pub mod properties;
pub mod publisher;
pub mod requester;
mod settling;
pub mod topology;
mod window;
