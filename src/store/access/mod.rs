//! Upkeep of databases, fields, resources and tokens, for the operator's commands.

mod databases;
mod error;
mod fields;
mod resources;
mod tokens;

pub use self::databases::Database;
pub use self::error::AccessError;
pub use self::fields::DefinedField;
pub use self::resources::Resource;
pub use self::tokens::TokenEntry;
