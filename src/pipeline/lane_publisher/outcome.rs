//! What became of what a lane has published, message by message.

use crate::broker::error::BrokerError;
use crate::broker::publisher::{Published, Unconfirmed};
use crate::pipeline::compose::Message;
use crate::pipeline::counts::Counts;

/// What a message that was not taken waits for, beside the lanes.
#[derive(Debug)]
pub enum Unpublished {
    /// These are published, and not confirmed yet; each with its index among what was published.
    Late(Box<Unconfirmed>, Vec<(usize, Message)>),
    /// Its destination takes nothing at this moment.
    Refused(Message),
    /// It is to be published over a connection where it can hurt nobody.
    Alone(Message),
}

/// What was published over one channel, and what became of it.
pub(super) type Attempt = (Vec<Message>, Result<Published, BrokerError>);

/// A batch of messages while it is sorted by what became of each.
pub(super) struct Sorting<'t> {
    /// Counts what is confirmed.
    pub(super) counts: &'t mut Counts,
    /// Others deliver it.
    pub(super) left: Vec<Unpublished>,
    /// To be published yet, or again.
    pub(super) open: Vec<Message>,
}
