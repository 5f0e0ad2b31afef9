//! The process: what is made once, and what is made again when it is lost.
//!
//! `startup` waits for the database, `supervisor` holds one `session` after the other:
//! connections and the lanes on them. `caution` says when a session takes one request at a time.

mod caution;
mod end;
mod session;
mod startup;
mod supervisor;
#[expect(
    clippy::module_inception,
    reason = "the type that the module is named after has a file like the others"
)]
mod worker;

pub(crate) use self::end::End;
pub(crate) use self::worker::Worker;
