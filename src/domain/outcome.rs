//! Every answer that a request can get: the codes and their texts in one table.

use std::fmt;

/// The `error` of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// 0: added, or added before by this very request.
    Added,
    /// 400: the request can't be read, or a field of it has a wrong type or value.
    Invalid,
    /// 401: no token, or one that does not open anything.
    Unauthenticated,
    /// 403: the token has no access to this database.
    Forbidden,
    /// 404: the database does not exist.
    NotFound,
    /// 409: another profile of this database has this email.
    EmailTaken,
    /// 413: the request is over a limit.
    TooLarge,
    /// 500: this message can't be stored although its neighbours can.
    Failed,
}

impl Code {
    /// Every code there is.
    pub const ALL: [Code; 8] = [
        Code::Added,
        Code::Invalid,
        Code::Unauthenticated,
        Code::Forbidden,
        Code::NotFound,
        Code::EmailTaken,
        Code::TooLarge,
        Code::Failed,
    ];

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Code::Added => 0,
            Code::Invalid => 400,
            Code::Unauthenticated => 401,
            Code::Forbidden => 403,
            Code::NotFound => 404,
            Code::EmailTaken => 409,
            Code::TooLarge => 413,
            Code::Failed => 500,
        }
    }
}

/// Why a message is kept for somebody to look at, whatever the answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadLetterReason {
    /// It is no request.
    Unreadable,
    /// The database refuses it, although it takes its neighbours.
    Unstorable,
    /// Our code panicked over it.
    Panic,
    /// It ended the worker each time that it was begun.
    EndedWorker,
}

impl DeadLetterReason {
    /// Every reason there is.
    pub const ALL: [Self; 4] = [
        Self::Unreadable,
        Self::Unstorable,
        Self::Panic,
        Self::EndedWorker,
    ];
}

/// A request is answered "no". That is a result like any other, not an error of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The code of the reply.
    pub code: Code,
    /// What the producer's developer reads: the path and what is wrong there.
    pub text: String,
}

impl Rejection {
    /// 400: the field at `path` has something wrong with it.
    pub fn invalid(path: &str, what: impl fmt::Display) -> Self {
        Self {
            code: Code::Invalid,
            text: format!("{path}: {what}"),
        }
    }

    /// 400: the message is no request at all.
    pub fn unreadable(what: impl fmt::Display) -> Self {
        Self {
            code: Code::Invalid,
            text: format!("not a readable request: {what}"),
        }
    }

    /// The same, with what the message seems to be.
    #[must_use]
    pub fn with_hint(mut self, hint: Option<&str>) -> Self {
        if let Some(hint) = hint {
            self.text.push_str("; ");
            self.text.push_str(hint);
        }
        self
    }

    /// 413: the body has more than `limit` bytes.
    pub fn body_too_large(limit: u64) -> Self {
        Self {
            code: Code::TooLarge,
            text: format!("the body is larger than {limit} bytes"),
        }
    }

    /// 413: the body unpacks to more than `limit` bytes.
    pub fn unpacked_too_large(limit: u64) -> Self {
        Self {
            code: Code::TooLarge,
            text: format!("the body unpacks to more than {limit} bytes"),
        }
    }

    /// 413: the text of the body, in another character set, takes more than `limit` bytes in UTF-8.
    pub fn text_too_large(limit: u64) -> Self {
        Self {
            code: Code::TooLarge,
            text: format!("the body takes more than {limit} bytes in UTF-8"),
        }
    }

    /// 413: the document has more than `limit` fields and items.
    pub fn too_many_values(limit: usize) -> Self {
        Self {
            code: Code::TooLarge,
            text: format!("more than {limit} values in one request"),
        }
    }

    /// 413: the batch form has more than `limit` profiles.
    pub fn too_many_profiles(limit: usize) -> Self {
        Self {
            code: Code::TooLarge,
            text: format!("more than {limit} profiles in one request"),
        }
    }

    /// 413: the reply would have to list more than `limit` invalid subscriptions.
    pub fn too_many_skipped(limit: usize) -> Self {
        Self {
            code: Code::TooLarge,
            text: format!("more than {limit} invalid subscriptions in one request"),
        }
    }

    /// 401, saying which of the ways to have no access it is; never the token.
    pub fn unauthenticated(why: Unauthenticated) -> Self {
        Self {
            code: Code::Unauthenticated,
            text: why.text().to_owned(),
        }
    }

    /// 403: the same text whether the database exists or not.
    pub fn forbidden(db_id: i64) -> Self {
        Self {
            code: Code::Forbidden,
            text: format!("the token has no access to database {db_id}"),
        }
    }

    /// 404: told only to a token that may see every database.
    pub fn no_database(db_id: i64) -> Self {
        Self {
            code: Code::NotFound,
            text: format!("database {db_id} does not exist"),
        }
    }

    /// 409: the only text that repeats a value of the profile.
    pub fn email_taken(email: &str) -> Self {
        Self {
            code: Code::EmailTaken,
            text: format!("another profile of this database has the email {email}"),
        }
    }

    /// Whether it is our fault, or at least not the request's.
    pub fn is_failure(&self) -> bool {
        self.code == Code::Failed
    }

    /// 500: the log has the reason under `reference`.
    pub fn failed(reference: &str) -> Self {
        Self {
            code: Code::Failed,
            text: format!("the service can't store this request; reference {reference}"),
        }
    }
}

/// Why a token, or its absence, opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unauthenticated {
    /// Neither a `token` field nor an `authorization: Bearer` header.
    Missing,
    /// An `authorization` header of another form, and no `token` field.
    OtherForm,
    /// Nobody was given this token.
    Unknown,
    /// It was revoked.
    Revoked,
    /// Its time is over.
    Expired,
}

impl Unauthenticated {
    const fn text(self) -> &'static str {
        match self {
            Self::Missing => {
                "no token: give it as `token` or in the header `authorization: Bearer …`"
            }
            Self::OtherForm => {
                "the header authorization is there but not of the form `Bearer <token>`"
            }
            Self::Unknown => "unknown token",
            Self::Revoked => "the token was revoked",
            Self::Expired => "the token has expired",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the contract, row by row.
    #[test]
    fn codes_are_those_of_the_contract() {
        let table = [
            (Code::Added, 0),
            (Code::Invalid, 400),
            (Code::Unauthenticated, 401),
            (Code::Forbidden, 403),
            (Code::NotFound, 404),
            (Code::EmailTaken, 409),
            (Code::TooLarge, 413),
            (Code::Failed, 500),
        ];
        for (code, number) in table {
            assert_eq!(code.number(), number, "{code:?}");
        }
    }
}
