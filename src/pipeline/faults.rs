//! Faults on demand, so that tests can see what becomes of them. Builds for use (`--release`) do
//! not have this.

use crate::broker::envelope::Envelope;

/// The header that asks for a fault.
const HEADER: &str = "x-fault";

/// Does what the header says while it is decided on: `panic`, or `abort` the process.
pub(super) fn inject(envelope: &Envelope) {
    match envelope.header(HEADER) {
        #[expect(clippy::panic, reason = "it was asked for")]
        Some("panic") => panic!("the message asked for it"),
        Some("abort") => std::process::abort(),
        _ => {}
    }
}

/// Does what the header says when a request is stored, and nothing was said of it yet:
/// `abort-after-commit`.
pub(super) fn inject_after_commit(envelope: &Envelope) {
    if envelope.header(HEADER) == Some("abort-after-commit") {
        std::process::abort();
    }
}
