//! The requests that are made of profiles, and what requests are called.

use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::domain::hex::Hex;

/// What a profile of a file is put into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wrapping {
    /// The database.
    pub(super) db_id: i64,
    /// As in the contract.
    pub(super) skip_triggers: bool,
    /// As in the contract.
    pub(super) skip_invalid_subscriptions: bool,
}

impl Wrapping {
    /// Makes a request. The token is no part of it: with another token the same request stays the
    /// same.
    pub(super) fn wrap(self, data: &(impl Serialize + ?Sized)) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&Body {
            db_id: self.db_id,
            data,
            skip_triggers: self.skip_triggers,
            skip_invalid_subscriptions: self.skip_invalid_subscriptions,
        })
    }

    /// Makes a request of a line, if it is a profile: one with a `db_id` is a request already.
    pub(super) fn wrap_line(self, line: &str) -> Result<Vec<u8>, String> {
        let unreadable = |error: serde_json::Error| format!("is no JSON object: {error}");
        if !line.starts_with('{') {
            return Err("is no JSON object".to_owned());
        }
        let Probe { db_id } = serde_json::from_str(line).map_err(unreadable)?;
        if db_id.is_some() {
            return Ok(line.as_bytes().to_vec());
        }
        let profile: &RawValue = serde_json::from_str(line).map_err(unreadable)?;
        self.wrap(profile).map_err(unreadable)
    }
}

/// What tells a request from a profile.
#[derive(serde::Deserialize)]
struct Probe {
    #[serde(default)]
    db_id: Option<serde::de::IgnoredAny>,
}

#[derive(Serialize)]
struct Body<'a, T: ?Sized> {
    db_id: i64,
    data: &'a T,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    skip_triggers: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    skip_invalid_subscriptions: bool,
}

/// What the requests of a file are called: by its `message_id` a request is known that is sent
/// again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Naming {
    /// The file is one request.
    Whole(String),
    /// By their numbers, from 1 on.
    Numbers(String),
    /// By what they are: the same request has the same name whatever becomes of the file around it.
    Contents(String),
}

/// So many characters of the hash of its content are a part of a request's name. It need not be
/// unique: the worker knows a request by its name and its body.
const HASH_CHARS: usize = 16;

impl Naming {
    /// The name of the request of this number, counted from 0.
    pub(super) fn name(&self, number: u64, body: &[u8]) -> String {
        match self {
            Self::Whole(key) => key.clone(),
            Self::Numbers(key) => format!("{key}-{}", number + 1),
            Self::Contents(key) => {
                let hash: [u8; 32] = Sha256::digest(body).into();
                format!("{key}-{}", &Hex::<64>::of(&hash).as_str()[..HASH_CHARS])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRAPPING: Wrapping = Wrapping {
        db_id: 7,
        skip_triggers: false,
        skip_invalid_subscriptions: false,
    };

    fn wrapped(line: &str) -> Result<String, String> {
        let body = WRAPPING.wrap_line(line)?;
        Ok(String::from_utf8(body).unwrap())
    }

    #[test]
    fn a_profile_becomes_a_request_and_a_request_stays_one() {
        for (line, body) in [
            (
                r#"{"email": "a@b.de"}"#,
                r#"{"db_id":7,"data":{"email": "a@b.de"}}"#,
            ),
            ("{}", r#"{"db_id":7,"data":{}}"#),
            (r#"{"data":{},"db_id":3}"#, r#"{"data":{},"db_id":3}"#),
        ] {
            assert_eq!(wrapped(line).as_deref(), Ok(body), "{line}");
        }
        for bad in ["", "x", "[]", "{", "{} x", "\"x\""] {
            let text = wrapped(bad).unwrap_err();
            assert!(text.starts_with("is no JSON object"), "{text}");
        }
        let flags = Wrapping {
            skip_triggers: true,
            skip_invalid_subscriptions: true,
            ..WRAPPING
        };
        assert_eq!(
            flags.wrap_line("{}").unwrap(),
            br#"{"db_id":7,"data":{},"skip_triggers":true,"skip_invalid_subscriptions":true}"#
        );
    }

    #[test]
    fn a_request_has_a_name_that_fits() {
        let key = "x".repeat(235);
        assert_eq!(Naming::Whole(key.clone()).name(5, b""), key);
        assert!(Naming::Numbers(key.clone()).name(u64::MAX - 1, b"").len() <= 256);
        assert_eq!(Naming::Numbers("key".to_owned()).name(0, b""), "key-1");
        let contents = Naming::Contents(key);
        assert_eq!(contents.name(0, b"a"), contents.name(9, b"a"));
        assert_ne!(contents.name(0, b"a"), contents.name(0, b"b"));
        assert_eq!(contents.name(0, b"a").len(), 252);
    }
}
