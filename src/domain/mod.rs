//! What a request means: profiles, subscriptions, tokens, outcomes. Pure: no server, no clock, no
//! wire format, nothing of the other modules.

pub mod directory;
pub mod email;
pub mod event;
pub mod fields;
pub mod identity;
pub mod kind;
pub mod outcome;
pub mod profile;
pub mod subscription;
pub mod token;
pub mod value;
