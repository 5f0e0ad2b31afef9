//! API tokens: how they are made, what is kept of them, what they open.

use std::fmt;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::hex::Hex;
use super::outcome::Unauthenticated;

/// What every token begins with, so that people and secret scanners recognise one.
const PREFIX: &str = "pw_";

/// Whether there may be a token, or a part of one, in a text.
pub fn is_in(text: &str) -> bool {
    text.contains(PREFIX)
}

/// The secret itself. It is shown once, when it is made, and never printed by accident.
pub struct Secret(String);

impl Secret {
    /// A token of 256 random bits.
    pub fn from_random(random: [u8; 32]) -> Self {
        Self(format!("{PREFIX}{}", Hex::<64>::of(&random).as_str()))
    }

    /// The text to hand to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// SHA-256 of a token: all that the database knows of it.
///
/// Why not a password hash? Those are slow so that *guessing* is dear. 256 random bits can't be
/// guessed, and a slow hash would only slow every request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// The hash of a token as a producer sent it.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

/// What a token opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every database, those to come included.
    AllDatabases,
    /// These databases, sorted by id.
    Databases(Vec<i64>),
}

impl Scope {
    /// Whether the token may add profiles to this database.
    pub fn allows(&self, db_id: i64) -> bool {
        match self {
            Scope::AllDatabases => true,
            Scope::Databases(ids) => ids.binary_search(&db_id).is_ok(),
        }
    }
}

/// A token as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it opens.
    pub scope: Scope,
    /// From this moment on it opens nothing.
    pub expires_at: Option<Timestamp>,
    /// It was taken back: it opens nothing.
    pub revoked: bool,
}

impl Token {
    /// Makes one that opens everything, for [`super::directory::Directory::of_anything`].
    pub(super) const fn of_anything() -> Self {
        Self {
            scope: Scope::AllDatabases,
            expires_at: None,
            revoked: false,
        }
    }

    /// Whether it may be used at `now`.
    pub fn check(&self, now: Timestamp) -> Result<(), Unauthenticated> {
        if self.revoked {
            Err(Unauthenticated::Revoked)
        } else if self.expires_at.is_some_and(|end| end <= now) {
            Err(Unauthenticated::Expired)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_recognisable_and_does_not_print() {
        let secret = Secret::from_random([0xab; 32]);
        assert_eq!(secret.reveal(), format!("pw_{}", "ab".repeat(32)));
        assert!(!format!("{secret:?}").contains("ab"));
        assert_eq!(secret.hash(), TokenHash::of(secret.reveal()));
    }

    #[test]
    fn a_token_ends_at_its_expiry_and_with_its_revocation() {
        let now = Timestamp::from_second(1000).unwrap();
        let token = |expires: Option<i64>, revoked| Token {
            scope: Scope::AllDatabases,
            expires_at: expires.map(|s| Timestamp::from_second(s).unwrap()),
            revoked,
        };
        assert_eq!(token(None, false).check(now), Ok(()));
        assert_eq!(token(Some(1001), false).check(now), Ok(()));
        assert_eq!(
            token(Some(1000), false).check(now),
            Err(Unauthenticated::Expired)
        );
        assert_eq!(
            token(Some(999), true).check(now),
            Err(Unauthenticated::Revoked)
        );
    }

    #[test]
    fn a_scope_allows_its_databases() {
        assert!(Scope::AllDatabases.allows(7));
        assert!(Scope::Databases(vec![3, 7]).allows(7));
        assert!(!Scope::Databases(vec![3, 7]).allows(4));
        assert!(!Scope::Databases(vec![]).allows(4));
    }
}
