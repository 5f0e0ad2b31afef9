//! What a decision is made from, and what it is.

use jiff::Timestamp;

use crate::domain::directory::Directory;
use crate::domain::identity::{IdSource, RequestName};
use crate::domain::outcome::{DeadLetterReason, Rejection};
use crate::domain::profile::NewProfile;
use crate::domain::subscription::Skipped;
use crate::wire::{Format, Unreadable, hint};

/// The properties of a message that count.
#[derive(Debug, Clone, Copy, Default)]
pub struct Properties<'a> {
    /// The body's declared format.
    pub content_type: Option<&'a str>,
    /// What the message says that it is, by which a body of AMQP 1.0 is known.
    pub message_type: Option<&'a [u8]>,
    /// How it is packed, and in which character set it is.
    pub content_encoding: Option<&'a str>,
    /// kombu's header of this name, which says how it is packed.
    pub compression: Option<&'a str>,
    /// The producer's name for the request.
    pub message_id: Option<&'a [u8]>,
    /// The header that names it where it has no `message_id`, as a text or not.
    pub message_id_header: Option<(bool, &'a [u8])>,
    /// How the producer matches the reply.
    pub correlation_id: Option<&'a [u8]>,
    /// Where the producer wants the reply.
    pub reply_to: Option<&'a [u8]>,
    /// The header of this name; empty if it is there and no text.
    pub authorization: Option<&'a str>,
    /// If the broker may have delivered it before, all properties that last from one delivery to
    /// the next, as bytes.
    pub redelivered: Option<&'a [u8]>,
}

impl<'a> Properties<'a> {
    /// The producer's name for the request, if there is one.
    pub fn name(&self) -> Option<RequestName<'a>> {
        let in_header = |(is_text, id)| RequestName::MessageIdHeader { is_text, id };
        self.message_id
            .map(RequestName::MessageId)
            .or(self.message_id_header.map(in_header))
    }
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
    /// Look for what was most likely not meant, also if the request does not ask for it.
    pub warns: bool,
}

/// What to do about one message.
#[derive(Debug)]
pub struct Decision {
    /// The judgement.
    pub verdict: Verdict,
    /// The format of the request, and of its reply.
    pub format: Format,
    /// To be echoed in the reply.
    pub feedback_id: Option<String>,
    /// What the producer asked to be told of.
    pub warnings: Vec<String>,
    /// The directory answered "no" to a question on the way: before this decision is acted upon,
    /// the directory must be known to be up to date.
    pub directory_missed: bool,
    /// Bytes of the text that it was made from: the body, unpacked and in UTF-8.
    pub text_bytes: usize,
}

/// The judgement on one message.
#[derive(Debug)]
pub enum Verdict {
    /// Store this profile.
    Add(Box<Addition>),
    /// The batch form: store those that can be stored.
    AddEntries(Vec<Result<Addition, Rejection>>),
    /// Answer "no".
    Refuse(Rejection),
    /// Answer "no", and keep the message for somebody to look at.
    DeadLetter(DeadLetterReason, Rejection),
}

impl Verdict {
    /// The body can't be read, so somebody has to look at it.
    pub(super) fn unreadable(flaw: impl Into<Unreadable>) -> Self {
        let flaw: Unreadable = flaw.into();
        Self::DeadLetter(DeadLetterReason::Unreadable, Rejection::unreadable(flaw))
    }

    /// The same of a body whose text is at hand.
    pub(super) fn unreadable_text(flaw: Unreadable, format: Format, text: &[u8]) -> Self {
        let hint = hint::of_unreadable(&flaw, format, text);
        Self::DeadLetter(
            DeadLetterReason::Unreadable,
            Rejection::unreadable(flaw).with_hint(hint),
        )
    }
}

/// A profile to store, and what to say about it.
#[derive(Debug)]
pub struct Addition {
    /// What to store.
    pub profile: NewProfile,
    /// The subscriptions that were dropped.
    pub skipped: Vec<Skipped>,
    /// Publish no trigger event.
    pub skip_triggers: bool,
}
