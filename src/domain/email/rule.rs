//! Which rule the keys were made by.

use sha2::{Digest, Sha256};

use super::address::Email;

/// The rule by which this program makes keys, as a database remembers it (`email_rule`).
///
/// Unicode promises that normalization and case folding of a character stay what they are once it
/// has been assigned (Unicode's stability policies), and characters that are not assigned are
/// refused here. UTS #46 has no such promise: with Unicode 15.1 the host `STRAẞE.de` became another
/// one. And a library may have a fault mended. So nothing is taken on trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The version of Unicode that the libraries have; for people.
    pub unicode: &'static str,
    /// The SHA-256 of the keys of all examples. Rules with equal ones are one.
    pub checksum: [u8; 32],
}

/// Of the data in the ICU4X crates.
const UNICODE: &str = "18.0";

/// Addresses that have each character that the rule changes today, before the `@` or after it, and
/// some that it does not. Made by the test `the_examples_have_every_character_that_is_changed`.
const EXAMPLES: &str = include_str!("examples.txt");

impl Rule {
    /// Works out the rule of this program, in a few milliseconds.
    pub fn of_this_program() -> Self {
        let mut checksum = Sha256::new();
        for example in EXAMPLES.lines() {
            match Email::parse(example) {
                Ok(email) => checksum.update(email.key().0),
                Err(_) => checksum.update([0]),
            }
        }
        Self {
            unicode: UNICODE,
            checksum: checksum.finalize().into(),
        }
    }
}
