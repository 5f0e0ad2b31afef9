//! Who may do what: a picture of tokens, databases and resources at one moment.
//!
//! It is only read here. `store::directory` loads it and keeps it fresh.

use rustc_hash::FxHashMap;
use std::cell::Cell;

use super::channel::{Channel, Channels};
use super::custom_field::{CustomField, FieldType};
use super::token::{Token, TokenHash};

/// The tokens, databases and resources at one moment.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// Grows with every change of what stands here; equal versions are equal directories.
    pub version: i64,
    /// Every token, the revoked and expired ones included, so that an answer can say which it is.
    pub tokens: FxHashMap<TokenHash, Token>,
    /// The databases that exist.
    pub databases: FxHashMap<i64, Database>,
    /// The resources by database and id, with the channels that each offers.
    pub resources: FxHashMap<(i64, i64), Channels>,
    /// Where nothing is known: what every token is taken for, and every database and resource that
    /// is asked for is there.
    pub anything: Option<Token>,
}

impl Directory {
    /// Makes the directory of somebody who has no servers, to check what needs none.
    pub fn of_anything() -> Self {
        Self {
            anything: Some(Token::of_anything()),
            ..Self::default()
        }
    }
}

/// What requests to a database have to know of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Database {
    /// It takes no custom fields but those that are defined.
    pub is_strict: bool,
    /// The custom fields that are defined, by name.
    pub fields: FxHashMap<String, FieldType>,
}

/// Questions to a directory, which remember whether one of them was answered with "no".
///
/// A picture may be a moment old. A "yes" from it is good enough; before a "no" is sent to a
/// producer the caller makes sure that the picture is still true (see [`Lookup::missed`]).
#[derive(Debug)]
pub struct Lookup<'d> {
    directory: &'d Directory,
    missed: Cell<bool>,
}

impl<'d> Lookup<'d> {
    /// Questions to this directory.
    pub fn new(directory: &'d Directory) -> Self {
        Self {
            directory,
            missed: Cell::new(false),
        }
    }

    /// Whether any question was answered with "no" so far.
    pub fn missed(&self) -> bool {
        self.missed.get()
    }

    /// The token that a producer sent.
    pub fn token(&self, token: &str) -> Option<&'d Token> {
        let found = self.directory.tokens.get(&TokenHash::of(token));
        let found = found.or(self.directory.anything.as_ref());
        self.note(found.is_some());
        found
    }

    /// Whether the token's scope holds this database.
    pub fn allows(&self, token: &Token, db_id: i64) -> bool {
        self.note(token.scope.allows(db_id))
    }

    /// Whether the database exists.
    pub fn has_database(&self, db_id: i64) -> bool {
        self.note(self.directory.databases.contains_key(&db_id) || self.assumes())
    }

    /// Whether the database has this resource.
    pub fn has_resource(&self, db_id: i64, resource_id: i64) -> bool {
        let resources = &self.directory.resources;
        self.note(resources.contains_key(&(db_id, resource_id)) || self.assumes())
    }

    /// Whether the resource offers this channel.
    pub fn offers(&self, db_id: i64, resource_id: i64, channel: Channel) -> bool {
        let channels = self.directory.resources.get(&(db_id, resource_id));
        self.note(channels.is_some_and(|channels| channels.contains(channel)) || self.assumes())
    }

    /// What the database says about a custom field of this name.
    pub fn custom_field(&self, db_id: i64, name: &str) -> CustomField {
        let database = self.directory.databases.get(&db_id);
        match database.map(|database| (database.fields.get(name), database.is_strict)) {
            Some((Some(field_type), _)) => CustomField::Defined(*field_type),
            Some((None, true)) => CustomField::Unknown,
            Some((None, false)) | None => CustomField::Undefined,
        }
    }

    /// The names of the custom fields that are defined in the database, in no order.
    pub fn custom_fields(&self, db_id: i64) -> impl Iterator<Item = &'d str> {
        let database = self.directory.databases.get(&db_id);
        let names = database.map(|database| database.fields.keys().map(String::as_str));
        names.into_iter().flatten()
    }

    /// Something was refused, perhaps by a definition that is changed by now.
    pub fn doubt(&self) {
        self.missed.set(true);
    }

    fn assumes(&self) -> bool {
        self.directory.anything.is_some()
    }

    fn note(&self, found: bool) -> bool {
        if !found {
            self.missed.set(true);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_known_everything_is_there() {
        let directory = Directory::of_anything();
        let lookup = Lookup::new(&directory);
        let token = lookup.token("whatever").unwrap();
        assert!(lookup.allows(token, 7) && lookup.has_database(7));
        assert!(lookup.has_resource(7, 1) && lookup.offers(7, 1, Channel::Push));
        assert_eq!(lookup.custom_field(7, "level"), CustomField::Undefined);
        assert!(!lookup.missed());
    }

    #[test]
    fn an_empty_directory_has_nothing() {
        let directory = Directory::default();
        let lookup = Lookup::new(&directory);
        assert!(lookup.token("whatever").is_none());
        assert!(!lookup.has_database(7) && !lookup.has_resource(7, 1));
        assert!(!lookup.offers(7, 1, Channel::Push) && lookup.missed());
    }
}
