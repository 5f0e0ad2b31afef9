//! Fields that an operator defines for a database, besides those that every profile has.

/// What a database says about a custom field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CustomField {
    /// It has been defined.
    Defined(FieldType),
    /// It has not, and need not be.
    Undefined,
    /// It has not, and the database takes no other fields.
    Unknown,
}

/// The types that an operator can give a custom field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// `string`
    String,
    /// `integer`
    Integer,
    /// `number`
    Number,
    /// `boolean`
    Boolean,
    /// `date`
    Date,
    /// `date-time`
    DateTime,
    /// `strings`: an array of them.
    Strings,
    /// `object`
    Object,
}

impl FieldType {
    /// Every type there is.
    pub const ALL: [FieldType; 8] = [
        FieldType::String,
        FieldType::Integer,
        FieldType::Number,
        FieldType::Boolean,
        FieldType::Date,
        FieldType::DateTime,
        FieldType::Strings,
        FieldType::Object,
    ];

    /// The type's name on the command line and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            FieldType::String => "string",
            FieldType::Integer => "integer",
            FieldType::Number => "number",
            FieldType::Boolean => "boolean",
            FieldType::Date => "date",
            FieldType::DateTime => "date-time",
            FieldType::Strings => "strings",
            FieldType::Object => "object",
        }
    }

    /// The type of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|field_type| field_type.name() == name)
    }
}
