//! What is taken in at once.

use super::envelope::Envelope;
use super::receipt::BatchReceipt;

/// How much may be taken at once.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Requests.
    pub requests_max: usize,
    /// Bytes of bodies of a batch of small ones; the request that reaches the limit is the last
    /// one.
    pub bytes_max: usize,
    /// The same of a batch of large ones; 0 if none is to be taken now.
    pub large_bytes_max: usize,
}

/// What there is to be taken.
#[derive(Debug)]
pub enum Ready {
    /// These.
    Batch(Batch),
    /// Nothing at this moment.
    Nothing,
    /// Nothing any more: the subscription has ended.
    Ended,
}

/// Requests that were ready at one moment, in the order of their delivery.
#[derive(Debug)]
pub struct Batch {
    /// At least one.
    pub envelopes: Vec<Envelope>,
    /// To be used once all of them are answered.
    pub receipt: BatchReceipt,
}
