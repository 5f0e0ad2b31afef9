//! A RabbitMQ consumer that turns *add-profile* requests into rows in PostgreSQL and answers every
//! one of them.
//!
//! # One message's way
//!
//! 1. It **arrives**: the broker delivers ahead, up to the prefetch window
//!    (`broker::prefetch_window`). Each frame is looked at before the client library sees it
//!    ([`broker::frames`]), and no more is read than may be held (`broker::read_gate`).
//! 2. A **lane** ([`pipeline::lane`]) takes the requests that are ready right now: one, if only one
//!    is. It works on them as one batch. Meanwhile the next batch gathers by itself, so nobody ever
//!    waits for a batch to fill. All lanes share one consumer ([`broker::consumer`]), which sees to
//!    it that under a light load one of them works, with batches as large as they get, and under a
//!    heavy load all.
//! 3. Each message is **decided** on ([`pipeline::decide`]), which is pure: bytes, unpacked and in
//!    UTF-8 ([`encoding`]), become a tree of values ([`wire::json`], [`wire::xml`]), the tree a
//!    request ([`wire::request`]), the request is checked against the **directory** of tokens,
//!    databases and resources
//!    ([`domain::directory`]), and the profile field by field ([`domain::profile`],
//!    [`domain::kind`], [`domain::subscription`]; when two emails are one says [`domain::email`]).
//!    The result: add this profile, refuse with this code, or dead-letter.
//! 4. All profiles of the batch are **stored** by one statement, which is one transaction
//!    ([`pipeline::commit`], [`store::profiles`]); large requests go part by part
//!    ([`pipeline::in_flight`]). What conflicts with a row that is there is looked at: if that row
//!    was made by this very request, delivered before, it is a success, else the email is taken.
//!    That is how nothing is added twice.
//! 5. Replies, trigger events and dead letters are **published** ([`pipeline::compose`],
//!    [`pipeline::lane_publisher`], [`broker::publisher`]), and the broker confirms each of them.
//!    What waits for one queue waits beside the lanes ([`pipeline::deferred`]).
//! 6. Only then is the batch **settled**, by one acknowledgement ([`broker::consumer`] again). If
//!    the worker dies anywhere before, the broker delivers the batch again, and step 4 finds what
//!    was done.
//!
//! # When something breaks
//!
//! - *The answer is "no"*: a [`domain::outcome::Rejection`]. A result like any other.
//! - *A server is away*: the batch is held ([`pipeline::store_retry`]) or the session is made anew
//!   ([`worker`]). Never a reply.
//! - *One message can't be stored though its neighbours can*: it is found by halving the batch, and
//!   ends as a 500 and a dead letter.
//! - *One message may have killed the process*: it is taken alone, and given up after three times
//!   ([`pipeline::suspects`]).
//! - *The setup is wrong*: the worker says what, and does not start ([`config`],
//!   [`worker`]).
//!
//! # What operators see
//!
//! Metrics, health and status stand in [`observe`], and [`admin`] shows them over HTTP;
//! their names are in [`telemetry::metrics`]. Logs and traces: [`telemetry::logs`],
//! [`telemetry::traces`].
//!
//! # Who knows whom
//!
//! Each module may use those of its row, and no others. No two files know each other in a circle.
//! A test (`architecture`) reads this table and the `use` lines.
//!
//! | module | knows |
//! |---|---|
//! | `domain` | |
//! | `encoding` | |
//! | `hosts` | |
//! | `limits` | |
//! | `sync` | |
//! | `wire` | `domain`, `encoding`, `limits` |
//! | `telemetry` | `domain`, `sync` |
//! | `broker` | `encoding`, `hosts`, `limits`, `sync` |
//! | `store` | `domain`, `hosts`, `limits` |
//! | `config` | `broker`, `store`, `telemetry` |
//! | `contract` | `config`, `domain`, `wire` |
//! | `observe` | `broker`, `store`, `sync`, `telemetry` |
//! | `pipeline` | `broker`, `config`, `domain`, `encoding`, `limits`, `observe`, `store`, `sync`, `telemetry`, `wire` |
//! | `status` | `broker`, `observe`, `pipeline`, `store`, `sync`, `telemetry` |
//! | `worker` | `broker`, `config`, `domain`, `observe`, `pipeline`, `status`, `store`, `telemetry` |
//! | `admin` | `domain`, `status`, `store`, `telemetry` |
//! | `cli` | everybody |
//!
//! Only `broker` names `lapin`, only `store` names `tokio_postgres`, only `store/error` reads
//! SQLSTATE, and of `broker` only `messages`, `request_headers` and `header_names` know the
//! contract.

pub mod admin;
#[cfg(test)]
mod architecture;
pub mod broker;
pub mod cli;
pub mod config;
mod contract;
#[cfg(test)]
mod documents;
pub mod domain;
pub mod encoding;
mod hosts;
pub mod limits;
mod observe;
pub mod pipeline;
mod status;
pub mod store;
mod sync;
pub mod telemetry;
pub mod wire;
mod worker;
