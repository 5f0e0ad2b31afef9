//! One request's way through the worker.
//!
//! ```text
//!                  ┌─────────────────────── a lane ────────────────────────┐
//!  request queue ─▶│ take ──▶ decide ──▶ commit ──▶ respond ──▶ settle     │─▶ replies, events
//!                  │ 1…batch_max         one        all         one ack    │   and dead letters
//!                  │                     statement  confirmed              │
//!                  └───────────────────────────────────────────────────────┘
//! ```
//!
//! - [`decide`] is pure: everything about one message that can be said without a server.
//! - [`commit`] stores a batch: it waits while the database is away, and halves the batch until a
//!   message that can't be stored stands alone.
//! - [`compose`] knows what is said, [`lane_publisher`] publishes it, and what does not get through
//!   at once waits in [`deferred`], beside the lanes.
//! - [`lane`] is the loop, [`in_flight`] a request on its way through it; [`crate::worker`] makes
//!   lanes and their connections, and makes new ones when something is lost; [`shutdown`] is how
//!   all of it ends.
//! - [`crate::observe`] is what can be seen of it from outside.
//! - [`store_retry`] waits for a database that is away; [`suspects`] are requests that may have
//!   ended a worker.

pub(crate) mod backlog;
pub(crate) mod backoff;
pub(crate) mod commit;
pub(crate) mod compose;
pub(crate) mod context;
pub(crate) mod counts;
pub mod decide;
pub(crate) mod deferred;
pub(crate) mod destinations;
#[cfg(debug_assertions)]
mod faults;
pub(crate) mod in_flight;
pub(crate) mod judge;
pub(crate) mod lane;
pub(crate) mod lane_publisher;
pub(crate) mod outstanding;
pub(crate) mod publishing_connections;
pub(crate) mod shutdown;
pub(crate) mod store_retry;
pub(crate) mod suspects;
