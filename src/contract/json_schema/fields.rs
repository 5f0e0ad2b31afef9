//! The schemas of the fields in a table.

use serde_json::{Map, Value, json};

use super::kinds::{kind, nothing};
use crate::domain::kind::{Field, Kind};

/// Makes the schemas of the fields of a table, each of which may be left out.
pub(super) fn fields(table: &[Field]) -> Map<String, Value> {
    let field = |field: &Field| {
        (
            field.name.to_owned(),
            described(optional(field.kind), field.about),
        )
    };
    table.iter().map(field).collect()
}

/// Makes the schema of a field that must be given, and is not null.
pub(super) fn required(table: &'static [Field], name: &str) -> Value {
    match Field::find(table, name) {
        Some(field) => described(kind(field.kind), field.about),
        None => unreachable!("{name} stands in the table"),
    }
}

/// Adds a description.
pub(super) fn described(mut schema: Value, about: &str) -> Value {
    schema["description"] = about.into();
    schema
}

/// Makes the schema of a value of this kind, or of what is the same as none.
fn optional(kind: Kind) -> Value {
    let mut schemas = nothing(kind);
    schemas.insert(0, super::kinds::kind(kind));
    json!({"anyOf": schemas})
}
