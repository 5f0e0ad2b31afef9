//! The schemas of the fields in a table.

use serde_json::{Map, Value, json};

use super::kinds::kind;
use crate::domain::kind::Field;

/// Makes the schemas of the fields of a table: null is the same as not given.
pub(super) fn fields(table: &[Field]) -> Map<String, Value> {
    let field = |field: &Field| {
        (
            field.name.to_owned(),
            described(or_null(kind(field.kind)), field.about),
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

/// Makes the schema of what may also be null.
pub(super) fn or_null(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}
