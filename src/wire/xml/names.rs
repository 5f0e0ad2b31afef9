//! The names that every document has.

/// The name of the root element.
pub(super) const ROOT: &str = "xml";

/// The attribute that marks an element of an array.
pub(super) const ARRAY: &str = "array";
