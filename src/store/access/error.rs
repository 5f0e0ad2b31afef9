//! What can come of an operator's wish.

use crate::store::error::StoreError;

/// Why an operator's wish was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The database did not do as it was told.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Names are unique, so that people can tell things apart.
    #[error("there is a {0} of this name already")]
    NameTaken(&'static str),
    /// What the wish refers to does not exist.
    #[error("{0} {1} does not exist")]
    NotFound(&'static str, i64),
    /// There is no such definition.
    #[error("database {0} has no field {1:?}")]
    NoField(i64, String),
}

/// What a refused statement means; `db_id` is the database that it
/// refers to, if it refers to one.
pub(super) fn explain(error: StoreError, what: &'static str, db_id: Option<i64>) -> AccessError {
    if error.is_unique_violation() {
        AccessError::NameTaken(what)
    } else if let Some(db_id) = db_id
        && error.is_foreign_key_violation()
    {
        AccessError::NotFound("database", db_id)
    } else {
        AccessError::Store(error)
    }
}
