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

mod away;
mod bad_input;
mod batch_form;
mod clients;
mod commands;
mod contract;
mod dead_letters;
mod documents;
mod dumps;
mod email;
mod email_migration;
mod events;
mod fields;
mod frameworks;
mod full_queues;
mod health;
mod large_headers;
mod locks;
mod logs;
mod memory;
mod never_twice;
mod packed;
mod poison;
mod pooler;
mod properties;
mod protocols;
mod replies;
mod reply_addresses;
mod restart;
mod schemas;
mod send;
mod setup_broker;
mod setup_database;
mod stopping;
mod store;
mod suspects;
mod tokens;
mod topology;
mod traces;
mod values;
mod volume;
