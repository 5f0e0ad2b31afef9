//! RabbitMQ: connections, topology, taking requests in, publishing with confirms. The only module
//! that names `lapin`.
//!
//! It does not know what a request says; it moves bytes and properties, and says what became of
//! them. Every wait for the broker ends by itself (see [`error::BrokerError::TimedOut`]).

mod acks;
pub mod batch;
pub mod connection;
mod dead_letter;
pub mod envelope;
pub mod error;
pub mod frames;
mod header_names;
mod incoming;
pub mod messages;
pub mod outgoing;
mod properties_size;
pub mod publisher;
mod raw_properties;
mod read_gate;
pub mod reply_address;
pub mod requester;
pub mod setup;
pub mod side;
mod stream;
mod subscribed;
pub mod subscription;
pub mod topology;
mod window;
