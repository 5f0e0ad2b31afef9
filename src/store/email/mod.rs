//! What keeps emails unique: the rule that hashes are made by, and the way to it for profiles from
//! before it (expand, fill, contract).

pub(super) mod contract;
mod correct;
mod fill;
pub(super) mod hash;
mod look;
pub(crate) mod rule;
pub(super) mod uniqueness;

pub use self::contract::ContractError;
pub use self::correct::{Conflict, CorrectError};
pub use self::fill::{FillError, Filled, Pace};
