//! The service as its users see it: real worker processes between a real RabbitMQ and a real
//! PostgreSQL. `make test` starts both and runs this.
//!
//! One file per section of the contract or promise; each test has its own PostgreSQL database and
//! its own queues ([`world`]), so all of them can run side by side.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod arbitrary;
mod away;
mod batch_form;
mod client;
mod clients;
mod collector;
mod commands;
mod contract;
mod culprits;
mod dead_letters;
mod documents;
mod dumps;
mod email;
mod email_migration;
mod events;
mod fields;
mod health;
mod logs;
mod memory;
mod memory_limit;
mod neighbours;
mod never_twice;
#[expect(dead_code, reason = "tests/attack uses more of it")]
mod operator;
mod poison;
#[expect(dead_code, reason = "tests/attack uses more of it")]
mod poisons;
mod pooler;
mod properties;
mod proxy;
#[path = "../chaos/random.rs"]
#[expect(dead_code, reason = "tests/chaos uses more of it")]
mod random;
mod raw_amqp;
mod replies;
mod restart;
mod servers;
mod setup_broker;
mod setup_database;
mod stopping;
mod store;
mod tokens;
mod topology;
mod traces;
mod volume;
mod worker;
mod world;
