//! One request's way through the worker.
//!
//! ```text
//!                    ┌─────────────────────── a lane ────────────────────────┐
//!  request queue ──▶ │ take ──▶ decide ──▶ commit ──▶ respond ──▶ settle     │ ──▶ replies, events,
//!                    │ 1…batch_max         one        all         one ack    │     dead letters
//!                    │                     statement  confirmed              │
//!                    └───────────────────────────────────────────────────────┘
//! ```
//!
//! - [`decide`] is pure: everything about one message that can be said without a server.
//! - [`commit`] stores a batch: it waits while the database is away, and halves the batch until a
//!   message that can't be stored stands alone.
//! - [`respond`] knows what goes where.
//! - [`lane`] is the loop, [`job`] a request on its way through it; [`crate::worker`] makes lanes and their
//!   connections, and makes new ones when something is lost; [`shutdown`] is how all of it ends.
//! - [`vitals`] is what can be seen of a worker from outside: [`health`], and the metrics that [`progress`] and the
//!   others record.
//! - [`hold`] waits for a database that is away; [`suspects`] are requests that may have ended a worker.

pub mod backoff;
pub mod commit;
pub mod decide;
#[cfg(debug_assertions)]
mod faults;
pub mod health;
pub mod hold;
pub mod job;
pub mod lane;
pub mod progress;
pub mod respond;
pub mod shutdown;
pub mod suspects;
mod tally;
pub mod vitals;
