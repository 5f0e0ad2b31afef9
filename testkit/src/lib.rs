//! What the tests, the benches and the fuzz targets share: real servers, real workers, clients that
//! write what no library would, loads whose answers are known beforehand, and what must hold of any
//! message at all.
//!
//! Not published, and no part of the worker.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

pub mod bad_input;
pub mod packing;

#[cfg(feature = "servers")]
pub mod admin;
#[cfg(feature = "servers")]
pub mod arbitrary;
#[cfg(feature = "servers")]
pub mod client;
#[cfg(feature = "servers")]
pub mod collector;
#[cfg(feature = "containers")]
pub mod containers;
#[cfg(feature = "servers")]
pub mod load;
#[cfg(feature = "servers")]
pub mod memory_limit;
#[cfg(feature = "servers")]
pub mod neighbours;
#[cfg(feature = "servers")]
pub mod operator;
#[cfg(feature = "servers")]
pub mod poisons;
#[cfg(feature = "servers")]
pub mod proxy;
#[cfg(feature = "servers")]
pub mod random;
#[cfg(feature = "servers")]
pub mod raw_amqp;
#[cfg(feature = "servers")]
pub mod servers;
#[cfg(feature = "servers")]
pub mod session;
#[cfg(feature = "servers")]
pub mod signals;
#[cfg(feature = "servers")]
pub mod worker;
#[cfg(feature = "servers")]
pub mod world;

/// Something of a test itself went wrong, not of what it tests.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
