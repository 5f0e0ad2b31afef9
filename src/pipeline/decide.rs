//! The pure core: one message → what to do about it. No server, no clock, no waiting.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::domain::directory::{Directory, Lookup};
use crate::domain::identity::{IdSource, RequestId, RequestName};
use crate::domain::outcome::{Rejection, Unauthenticated};
use crate::domain::profile::{Fields, NewProfile};
use crate::domain::subscription::Skipped;
use crate::wire::json::{self, Keep};
use crate::wire::request::{Misshapen, Request};
use crate::wire::{self, Unreadable};

/// The properties of a message that count.
#[derive(Debug, Clone, Copy, Default)]
pub struct Properties<'a> {
    /// The body's declared format.
    pub content_type: Option<&'a str>,
    /// The producer's name for the request.
    pub message_id: Option<&'a str>,
    /// How the producer matches the reply.
    pub correlation_id: Option<&'a str>,
    /// Where the producer wants the reply.
    pub reply_to: Option<&'a str>,
    /// The header of this name.
    pub authorization: Option<&'a str>,
    /// The broker may have delivered it before.
    pub redelivered: bool,
}

/// What a message is judged by, besides itself.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Who may do what.
    pub directory: &'a Directory,
    /// Where profile ids come from.
    pub ids: &'a IdSource,
    /// The moment of judgement.
    pub now: Timestamp,
    /// Largest body, in bytes.
    pub body_max: u64,
}

/// What to do about one message.
#[derive(Debug)]
pub struct Decision<'a> {
    /// The judgement.
    pub verdict: Verdict<'a>,
    /// To be echoed in the reply.
    pub feedback_id: Option<Cow<'a, str>>,
    /// The directory answered "no" to a question on the way: before this decision is acted upon,
    /// the directory must be known to be up to date.
    pub directory_missed: bool,
}

/// The judgement on one message.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// Store this profile.
    Add(Box<Addition<'a>>),
    /// Answer "no".
    Refuse(Rejection),
    /// Answer "no", and keep the message for somebody to look at.
    DeadLetter(Rejection),
}

/// A profile to store, and what to say about it.
#[derive(Debug)]
pub struct Addition<'a> {
    /// What to store.
    pub profile: NewProfile<'a>,
    /// The subscriptions that were dropped.
    pub skipped: Vec<Skipped>,
    /// Publish no trigger event.
    pub skip_triggers: bool,
}

/// Judges one message. The order of the checks is part of the contract, so that nobody learns what
/// they may not: readable, shape, size, token, access, profile and subscriptions. The email comes
/// last, in the database.
pub fn decide<'a>(body: &'a [u8], properties: &Properties<'a>, rules: &Rules<'_>) -> Decision<'a> {
    let lookup = Lookup::new(rules.directory);
    let mut feedback_id = None;
    let verdict = judge(body, properties, rules, &lookup, &mut feedback_id);
    Decision { verdict: verdict.unwrap_or_else(|verdict| verdict), feedback_id, directory_missed: lookup.missed() }
}

/// Either way it is the verdict; the error is the one that ends the checks early.
fn judge<'a>(
    body: &'a [u8],
    properties: &Properties<'a>,
    rules: &Rules<'_>,
    lookup: &Lookup<'_>,
    feedback_id: &mut Option<Cow<'a, str>>,
) -> Result<Verdict<'a>, Verdict<'a>> {
    let oversized = body.len() as u64 > rules.body_max;
    let mut request = match read(body, properties.content_type, oversized) {
        Ok(Ok(request)) => request,
        Ok(Err(misshapen)) => {
            *feedback_id = misshapen.feedback_id;
            return Err(Verdict::Refuse(misshapen.rejection));
        }
        Err(unreadable) => return Err(Verdict::DeadLetter(Rejection::unreadable(unreadable))),
    };
    *feedback_id = request.feedback_id.take();
    if oversized {
        return Err(Verdict::Refuse(Rejection::body_too_large(rules.body_max)));
    }
    authorize(&request, properties, rules, lookup).map_err(Verdict::Refuse)?;
    add(body, request, properties, rules, lookup).map_err(Verdict::Refuse)
}

fn read<'a>(
    body: &'a [u8],
    content_type: Option<&str>,
    oversized: bool,
) -> Result<Result<Request<'a>, Misshapen<'a>>, Unreadable> {
    if content_type.is_some_and(wire::is_foreign_charset) {
        return Err(Unreadable::NotUtf8);
    }
    let keep = if oversized { Keep::TopLevel } else { Keep::Everything };
    json::read(body, keep).map(Request::from_document)
}

fn authorize(
    request: &Request<'_>,
    properties: &Properties<'_>,
    rules: &Rules<'_>,
    lookup: &Lookup<'_>,
) -> Result<(), Rejection> {
    let sent = request.token.as_deref().or_else(|| properties.authorization.and_then(bearer));
    let sent = sent.ok_or_else(|| Rejection::unauthenticated(Unauthenticated::Missing))?;
    let token = lookup.token(sent).ok_or_else(|| Rejection::unauthenticated(Unauthenticated::Unknown))?;
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

fn add<'a>(
    body: &[u8],
    request: Request<'a>,
    properties: &Properties<'_>,
    rules: &Rules<'_>,
    lookup: &Lookup<'_>,
) -> Result<Verdict<'a>, Rejection> {
    let skip_invalid = request.skip_invalid_subscriptions;
    let fields = Fields::check(request.data, "data", request.db_id, skip_invalid, lookup)?;
    let profile = NewProfile {
        db_id: request.db_id,
        id: rules.ids.next(rules.now.as_second()),
        request_id: request_id(body, properties, fields.email.is_some()),
        repeatable: properties.message_id.is_some() || properties.redelivered,
        added_at: rules.now,
        email: fields.email,
        data: fields.data,
        subscriptions: fields.subscriptions,
    };
    Ok(Verdict::Add(Box::new(Addition { profile, skipped: fields.skipped, skip_triggers: request.skip_triggers })))
}

/// By what a redelivery of this request finds its row. Without a `message_id` two equal requests
/// are two requests; one with an email is kept from being stored twice by the email, one without
/// must not be kept from it.
fn request_id(body: &[u8], properties: &Properties<'_>, has_email: bool) -> Option<RequestId> {
    let name = match properties.message_id {
        Some(id) => RequestName::MessageId(id),
        None if has_email => RequestName::Unnamed {
            reply_to: properties.reply_to.unwrap_or_default(),
            correlation_id: properties.correlation_id.unwrap_or_default(),
        },
        None => return None,
    };
    Some(RequestId::of(name, body, 0))
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
