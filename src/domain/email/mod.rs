//! Email addresses: what is one, and when two are the same.
//!
//! All of it follows from the text and from Unicode's rules, so the answer is the same in every
//! worker and in every database, whatever its locale.
//!
//! What is the same is decided by the *canonical form*, which nobody sees:
//!
//! | part | canonical form | so these are one |
//! |---|---|---|
//! | before the `@` | Unicode NFC of the full case folding (Unicode, section 3.13, D145) | `JOHN`, `john`; `ΝΙΚΟΣ`, `νικος`, `νικοσ`; `STRASSE`, `straße` |
//! | after it | UTS #46, non-transitional, with STD3 rules, in its ASCII form | `пример.рф`, `xn--e1afmkfd.xn--p1ai`; `example.com`, `ｅｘａｍｐｌｅ。com` |
//!
//! Three letters on which rules differ, decided once: the final sigma ς is a σ, and ß is ss, before
//! the `@` (as full case folding has it) and not after it (`faß.de` and `fass.de` are two hosts).
//! The dotted İ is not an i, nor is the dotless ı, on either side: Turkish and Azerbaijani rules
//! are for texts of known language.

mod address;
mod key;
mod rule;

pub use self::address::{Email, address, canonical};
pub use self::key::EmailKey;
pub use self::rule::Rule;
