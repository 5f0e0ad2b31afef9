//! One row of the directory as it is loaded.

use std::time::SystemTime;

use jiff::Timestamp;
use tokio_postgres::Row;

use crate::domain::channel::Channel;
use crate::domain::custom_field::FieldType;
use crate::domain::directory::Directory;
use crate::domain::token::{Scope, Token, TokenHash};
use crate::store::time::timestamp;

/// What one row says.
#[derive(Debug)]
pub(super) enum Entry<'r> {
    /// The version of the whole.
    Version(i64),
    /// A database.
    Database {
        /// Its number.
        db_id: i64,
        /// Whether it takes only custom fields that are defined.
        is_strict: bool,
    },
    /// A custom field.
    Field {
        /// The database that it is defined for.
        db_id: i64,
        /// Its name in a profile.
        name: String,
        /// The name of its type.
        field_type: &'r str,
    },
    /// A resource.
    Resource {
        /// The database that has it.
        db_id: i64,
        /// Its number.
        id: i64,
        /// The names of the channels that it offers.
        channels: Vec<&'r str>,
    },
    /// An API token.
    Token {
        /// What is kept of its secret.
        hash: &'r [u8],
        /// What it opens.
        scope: Scope,
        /// When it ends, if it does.
        expires_at: Option<SystemTime>,
        /// Whether it is revoked.
        revoked: bool,
    },
}

impl<'r> Entry<'r> {
    /// Reads a row of the statement that loads the directory.
    pub(super) fn of(row: &'r Row) -> Self {
        let kind: &str = row.get(0);
        let number: i64 = row.get(1);
        match kind {
            "version" => Self::Version(number),
            "database" => Self::Database {
                db_id: number,
                is_strict: row.get(7),
            },
            "field" => Self::Field {
                db_id: number,
                name: row.get(9),
                field_type: row.get(10),
            },
            "resource" => Self::Resource {
                db_id: row.get(2),
                id: number,
                channels: row.get(8),
            },
            _ => Self::Token {
                hash: row.get(3),
                scope: if row.get(4) {
                    Scope::AllDatabases
                } else {
                    Scope::Databases(row.get(5))
                },
                expires_at: row.get(6),
                revoked: row.get(7),
            },
        }
    }

    /// Adds it to what other rows said, in whatever order they come.
    pub(super) fn add_to(self, directory: &mut Directory) {
        match self {
            Self::Version(version) => directory.version = version,
            Self::Database { db_id, is_strict } => {
                directory.databases.entry(db_id).or_default().is_strict = is_strict;
            }
            Self::Field {
                db_id,
                name,
                field_type,
            } => {
                // A type that this version does not know: the field is not checked.
                if let Some(field_type) = FieldType::parse(field_type) {
                    let database = directory.databases.entry(db_id).or_default();
                    database.fields.insert(name, field_type);
                }
            }
            Self::Resource {
                db_id,
                id,
                channels,
            } => {
                let channels = channels.into_iter().filter_map(Channel::parse).collect();
                directory.resources.insert((db_id, id), channels);
            }
            Self::Token {
                hash,
                scope,
                expires_at,
                revoked,
            } => {
                let Ok(hash) = <[u8; 32]>::try_from(hash) else {
                    return;
                };
                // A moment that is out of the calendar's range is taken for the past: it opens
                // nothing.
                let expires_at =
                    expires_at.map(|end| timestamp(end).unwrap_or(Timestamp::UNIX_EPOCH));
                let token = Token {
                    scope,
                    expires_at,
                    revoked,
                };
                directory.tokens.insert(TokenHash(hash), token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn directory(entries: impl IntoIterator<Item = Entry<'static>>) -> Directory {
        let mut directory = Directory::default();
        for entry in entries {
            entry.add_to(&mut directory);
        }
        directory
    }

    fn field(name: &str, field_type: &'static str) -> Entry<'static> {
        Entry::Field {
            db_id: 1,
            name: name.to_owned(),
            field_type,
        }
    }

    fn token(hash: &'static [u8], expires_at: Option<SystemTime>) -> Entry<'static> {
        Entry::Token {
            hash,
            scope: Scope::Databases(vec![1]),
            expires_at,
            revoked: false,
        }
    }

    #[test]
    fn a_database_and_its_fields_come_in_any_order() {
        let database = || Entry::Database {
            db_id: 1,
            is_strict: true,
        };
        let one = directory([database(), field("age", "integer"), Entry::Version(7)]);
        let other = directory([Entry::Version(7), field("age", "integer"), database()]);
        assert_eq!(one.databases, other.databases);
        assert!(one.databases[&1].is_strict);
        assert_eq!(one.databases[&1].fields["age"], FieldType::Integer);
        assert_eq!((one.version, other.version), (7, 7));
    }

    #[test]
    fn a_field_of_a_type_that_nobody_knows_is_not_checked() {
        let directory = directory([field("shape", "polygon"), field("age", "integer")]);
        let fields = &directory.databases[&1].fields;
        assert!(!fields.contains_key("shape"));
        assert!(fields.contains_key("age"));
    }

    #[test]
    fn a_resource_offers_the_channels_that_we_know() {
        let directory = directory([Entry::Resource {
            db_id: 1,
            id: 2,
            channels: vec!["email", "pigeon", "sms"],
        }]);
        let offered = directory.resources[&(1, 2)];
        for channel in Channel::ALL {
            let is_offered = [Channel::Email, Channel::Sms].contains(&channel);
            assert_eq!(offered.contains(channel), is_offered, "{channel:?}");
        }
    }

    #[test]
    fn a_token_that_ends_beyond_the_calendar_opens_nothing() {
        let beyond = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        let directory = directory([token(&[1; 32], Some(beyond)), token(&[2; 32], None)]);
        let expires_at = |hash| directory.tokens[&TokenHash(hash)].expires_at;
        assert_eq!(expires_at([1; 32]), Some(Timestamp::UNIX_EPOCH));
        assert_eq!(expires_at([2; 32]), None);
    }

    #[test]
    fn a_token_whose_hash_is_none_is_left_out() {
        assert!(directory([token(&[1; 31], None)]).tokens.is_empty());
    }
}
