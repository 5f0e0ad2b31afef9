//! The contract as documents that machines read, made from the tables that the decoder reads by:
//! the fields of a request ([`crate::wire::request`]), of a profile ([`crate::domain::profile`])
//! and of a subscription ([`crate::domain::subscription`]), and their kinds
//! ([`crate::domain::kind`]).

pub(crate) mod asyncapi;
pub(crate) mod json_schema;
mod patterns;
pub(crate) mod xsd;
