//! Faults on demand, so that tests can see what becomes of them. Builds for use (`--release`) do not
//! have this.

use crate::broker::envelope::Envelope;

/// The header that asks for a fault.
const HEADER: &str = "x-fault";

/// Does what the header says: `panic`, or `abort` the process.
pub(super) fn inject(envelope: &Envelope) {
    match envelope.header(HEADER) {
        #[expect(clippy::panic, reason = "it was asked for")]
        Some("panic") => panic!("the message asked for it"),
        Some("abort") => std::process::abort(),
        _ => {}
    }
}
