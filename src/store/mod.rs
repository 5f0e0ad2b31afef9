//! PostgreSQL: the pool, the schema, the one statement that stores a batch, the directory and its
//! upkeep. The only module that names `tokio_postgres` and `deadpool_postgres`.

pub mod access;
pub(crate) mod directory;
pub mod email;
pub mod error;
mod lease;
mod limits;
pub mod migrate;
mod migrations;
pub mod pool;
pub(crate) mod pooler;
pub mod profiles;
mod rights;
pub mod schema;
mod servers;
mod session_name;
mod sessions;
mod suspects;
mod time;
mod tls;
pub mod url;
