//! RabbitMQ: connections, topology, taking requests in, publishing with confirms. The only module
//! that names `lapin`.
//!
//! It does not know what a request says; it moves bytes and properties, and says what became of
//! them. Every wait for the broker ends by itself (see [`error::BrokerError::TimedOut`]).

mod acks;
pub(crate) mod batch;
pub(crate) mod connection;
pub(crate) mod consumer;
mod consumer_channel;
mod dead_letter;
pub(crate) mod envelope;
pub(crate) mod error;
pub mod frames;
mod header_names;
mod incoming;
pub(crate) mod messages;
pub(crate) mod outgoing;
mod outgoing_properties;
mod prefetch_window;
mod properties_size;
pub(crate) mod publisher;
mod raw_properties;
mod read_gate;
pub(crate) mod receipt;
pub(crate) mod reply_address;
pub(crate) mod request_headers;
pub(crate) mod requester;
pub(crate) mod setup;
pub(crate) mod side;
mod stream;
pub(crate) mod topology;
pub(crate) mod turns;
pub(crate) mod url;
