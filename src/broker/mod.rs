//! RabbitMQ: connections, topology, taking requests in, publishing with confirms. The only module
//! that names `lapin`.
//!
//! It does not know what a request says; it moves bytes and properties, and says what became of
//! them. Every wait for the broker ends by itself (see [`error::BrokerError::TimedOut`]).

mod acks;
pub mod batch;
pub mod connection;
pub mod envelope;
pub mod error;
mod incoming;
pub mod messages;
pub mod outgoing;
pub mod publisher;
mod read_gate;
pub mod requester;
pub mod subscription;
pub mod topology;
mod window;
