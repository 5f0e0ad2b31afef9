//! How things are named: profile ids, and the identity by which a redelivered request knows its
//! own earlier work.

mod profile_id;
mod request;

pub use self::profile_id::{IdSource, ProfileId};
pub use self::request::{RequestId, RequestIdentity, RequestName};
