//! The pure core: one message → what to do about it. No server, no clock, no waiting.

mod content;
mod decision;
mod identities;
mod warnings;

use std::borrow::Cow;

use self::content::{Content, NoContent};
pub use self::decision::{Addition, Decision, Properties, Rules, Verdict};
use self::identities::Identities;
pub use self::identities::identity_of_unnamed;
use crate::domain::directory::Lookup;
use crate::domain::outcome::{Rejection, Unauthenticated};
use crate::domain::profile::{Fields, NewProfile};
use crate::domain::subscription::Skipped;
use crate::domain::value::{Object, Value};
use crate::wire::request::{self, DATA, Data, PROFILES_MAX, Request};
use crate::wire::{Format, Outline, Unreadable, VALUES_MAX, hint};

/// The most subscriptions that are dropped from one request: each is told of in the reply, which
/// the broker must be able to carry.
const SKIPPED_MAX: usize = 20_000;

/// Judges one message. The order of the checks is part of the contract, so that nobody learns what
/// they may not: readable, shape, size, token, access, profile and subscriptions. The email comes
/// last, in the database.
pub fn decide(body: &[u8], properties: &Properties<'_>, rules: &Rules<'_>) -> Decision {
    let content = match Content::of(body, properties, rules.body_max) {
        Ok(content) => content,
        Err(NoContent { verdict, format }) => {
            return Decision {
                verdict,
                format,
                feedback_id: None,
                warnings: Vec::new(),
                directory_missed: false,
                text_bytes: body.len(),
            };
        }
    };
    let lookup = Lookup::new(rules.directory);
    let mut echo = Echo::default();
    let verdict = judge(body, &content, properties, rules, &lookup, &mut echo);
    let verdict = verdict.unwrap_or_else(|verdict| verdict);
    Decision {
        verdict,
        format: content.format,
        feedback_id: echo.feedback_id,
        warnings: echo.warnings,
        directory_missed: lookup.missed(),
        text_bytes: content.text.len(),
    }
}

/// What the reply says besides the verdict, as far as it is known.
#[derive(Default)]
struct Echo {
    feedback_id: Option<String>,
    warnings: Vec<String>,
}

/// Either way it is the verdict; the error is the one that ends the checks early.
fn judge(
    body: &[u8],
    content: &Content<'_>,
    properties: &Properties<'_>,
    rules: &Rules<'_>,
    lookup: &Lookup<'_>,
    echo: &mut Echo,
) -> Result<Verdict, Verdict> {
    let (text, format) = (&*content.text, content.format);
    let unreadable = |flaw| Verdict::unreadable_text(flaw, format, text);
    let TopLevel {
        document,
        is_outline,
        too_large,
    } = TopLevel::read(text, format, rules.body_max).map_err(unreadable)?;
    let mut request = Request::from_document(document).map_err(|misshapen| {
        echo.feedback_id = misshapen.feedback_id.map(Cow::into_owned);
        let hint = hint::of_envelope(format, text);
        Verdict::Refuse(misshapen.rejection.with_hint(hint))
    })?;
    echo.feedback_id = request.feedback_id.as_deref().map(str::to_owned);
    if let Some(too_large) = too_large {
        return Err(Verdict::Refuse(too_large));
    }
    if matches!(&request.data, Data::Many(profiles) if profiles.len() > PROFILES_MAX) {
        return Err(Verdict::Refuse(Rejection::too_many_profiles(PROFILES_MAX)));
    }
    authorize(&request, properties, rules, lookup).map_err(Verdict::Refuse)?;
    if is_outline {
        let document = format.read(text).map_err(unreadable)?;
        request = Request::from_document(document)
            .map_err(|misshapen| Verdict::Refuse(misshapen.rejection))?;
    }
    if request.warnings || rules.warns {
        echo.warnings = warnings::warnings(&request, lookup);
    }
    let adding = Adding {
        db_id: request.db_id,
        skip_triggers: request.skip_triggers,
        skip_invalid_subscriptions: request.skip_invalid_subscriptions,
        identities: Identities::new(
            body,
            content.unpacked(),
            content.named.as_deref(),
            properties,
        ),
        rules,
        lookup,
    };
    match request.data {
        Data::One(profile) => match adding.add(Value::Object(profile), DATA, 0) {
            Ok(addition) => Ok(Verdict::Add(Box::new(addition))),
            Err(rejection) => Err(Verdict::Refuse(rejection)),
        },
        Data::Many(profiles) => {
            let mut each = Vec::with_capacity(profiles.len());
            let mut skipped = 0;
            for (i, profile) in (0..).zip(profiles) {
                let addition = adding.add(profile, &format!("{DATA}[{i}]"), i);
                skipped += addition
                    .as_ref()
                    .map_or(0, |addition| addition.skipped.len());
                if skipped > SKIPPED_MAX {
                    return Err(Verdict::Refuse(Rejection::too_many_skipped(SKIPPED_MAX)));
                }
                each.push(addition);
            }
            Ok(Verdict::AddEntries(each))
        }
    }
}

/// A body of so many bytes is read at once: reading it twice would take longer, and its tree can't
/// be large.
const READ_AT_ONCE_MAX: usize = 16 * 1024;

/// What the checks before that of the profiles need of a message.
struct TopLevel<'a> {
    document: Object<'a>,
    /// The document is an outline: nobody without a token makes us build more than that.
    is_outline: bool,
    /// The 413 that the size earns it.
    too_large: Option<Rejection>,
}

impl<'a> TopLevel<'a> {
    fn read(body: &'a [u8], format: Format, body_max: u64) -> Result<Self, Unreadable> {
        let is_too_large = body.len() as u64 > body_max;
        if body.len() <= READ_AT_ONCE_MAX && !is_too_large {
            return Ok(Self {
                document: format.read(body)?,
                is_outline: false,
                too_large: None,
            });
        }
        let Outline { fields, values } = format.outline(body, request::NAMES)?;
        let too_large = if is_too_large {
            Some(Rejection::body_too_large(body_max))
        } else {
            (values > VALUES_MAX).then(|| Rejection::too_many_values(VALUES_MAX))
        };
        Ok(Self {
            document: fields,
            is_outline: true,
            too_large,
        })
    }
}

fn authorize(
    request: &Request<'_>,
    properties: &Properties<'_>,
    rules: &Rules<'_>,
    lookup: &Lookup<'_>,
) -> Result<(), Rejection> {
    let sent = match (request.token.as_deref(), properties.authorization) {
        (Some(token), _) => Ok(token),
        (None, Some(header)) => bearer(header).ok_or(Unauthenticated::OtherForm),
        (None, None) => Err(Unauthenticated::Missing),
    };
    let sent = sent.map_err(Rejection::unauthenticated)?;
    let token = lookup
        .token(sent)
        .ok_or_else(|| Rejection::unauthenticated(Unauthenticated::Unknown))?;
    token.check(rules.now).map_err(Rejection::unauthenticated)?;
    if !lookup.allows(token, request.db_id) {
        return Err(Rejection::forbidden(request.db_id));
    }
    if !lookup.has_database(request.db_id) {
        return Err(Rejection::no_database(request.db_id));
    }
    Ok(())
}

/// The token of an `authorization: Bearer …` header (RFC 6750, 2.1; the scheme in any case).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// What the profiles of one request have in common.
struct Adding<'r> {
    db_id: i64,
    skip_triggers: bool,
    skip_invalid_subscriptions: bool,
    identities: Identities<'r>,
    rules: &'r Rules<'r>,
    lookup: &'r Lookup<'r>,
}

impl Adding<'_> {
    /// Checks the profile that stands at `path`, the `index`-th of the request.
    fn add(&self, profile: Value<'_>, path: &str, index: u32) -> Result<Addition, Rejection> {
        let fields = Fields::check(
            profile,
            self.db_id,
            self.skip_invalid_subscriptions,
            self.lookup,
        )
        .map_err(|flaw| flaw.at(path))?;
        let properties = self.identities.properties;
        let profile = NewProfile {
            db_id: self.db_id,
            id: self.rules.ids.next(self.rules.now.as_second()),
            request_id: self.identities.profile(index, fields.email.is_some()),
            repeatable: properties.name().is_some() || properties.redelivered.is_some(),
            added_at: self.rules.now,
            email: fields.email,
            data: fields.data,
            subscriptions: fields.subscriptions,
        };
        let skipped = fields.skipped.into_iter();
        let skipped = skipped
            .map(|(index, flaw)| Skipped {
                index,
                error_text: flaw.at(path).text,
            })
            .collect();
        Ok(Addition {
            profile,
            skipped,
            skip_triggers: self.skip_triggers,
        })
    }
}

#[cfg(test)]
mod tests;
