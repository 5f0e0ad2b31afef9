//! What keeps emails unique in a database: that depends on how far its migration has come.

/// What an email is unique by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Uniqueness {
    /// By the hash, and by the key of older workers, which the database makes by its locale. It
    /// stays until `email contract`.
    ByBoth,
    /// By the hash alone.
    ByHash,
}
