//! What is unique in a database.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::domain::hex::Hex;

/// The first half of the SHA-256 of an email's canonical form: what the database keeps unique
/// (`profiles.email_hash`).
///
/// Why not the form itself? The index that keeps it unique is what a full table waits for, and is
/// half as large with it. Why 16 bytes? Two addresses of a database with a billion profiles share
/// one by chance with a probability of less than 1 in 10²⁰; with 8 bytes it were 1 in 40, and
/// somebody would be told that an email is taken that is not. To make two that share one takes 2⁶⁴
/// attempts, and harms only the database of who made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailKey(pub [u8; 16]);

impl EmailKey {
    pub(super) fn of(canonical: &str) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&Sha256::digest(canonical.as_bytes())[..16]);
        Self(key)
    }

    /// The key of a profile that can't have that of its email, as another one has it or there is no
    /// such address. No address has it: none has a blank.
    pub fn of_profile(id: &str) -> Self {
        Self::of(&format!("profile {id}"))
    }
}

/// As PostgreSQL writes what is of its type `uuid`.
impl fmt::Display for EmailKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = Hex::<32>::of(&self.0);
        let hex = hex.as_str();
        write!(
            f,
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }
}
