//! Links from one schema to another.

use serde_json::{Value, json};

/// Where the definitions stand in a document.
#[derive(Debug, Clone, Copy)]
pub(in crate::contract) struct References(pub(in crate::contract) &'static str);

impl References {
    /// Makes a link to the definition of this name.
    pub(in crate::contract) fn to(self, name: &str) -> Value {
        json!({"$ref": format!("{}{name}", self.0)})
    }
}
