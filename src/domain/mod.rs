//! What a request means: profiles, subscriptions, tokens, outcomes. Pure: no server, no clock, no
//! format of messages, nothing of the other modules. A value that a producer may choose freely is
//! kept as JSON text ([`value::Json`]), because that is what the contract says it is.

pub mod address;
pub mod blank;
pub mod channel;
pub mod complaint;
pub mod custom_field;
pub mod directory;
pub mod email;
pub mod hex;
pub mod identity;
pub mod kind;
pub mod moment;
pub mod near_name;
pub mod outcome;
pub mod parse;
pub mod profile;
pub mod quote;
pub mod subscription;
pub mod token;
pub mod value;
