//! Whether a request is small or large: by what its body unpacks to, if it is packed.

use crate::broker::envelope::Envelope;
use crate::encoding::declared::Declared;
use crate::encoding::unpack::unpacked_size;
use crate::limits::{LARGE_BATCH_BYTES_MAX, LARGE_BODY_BYTES, MEASURED_BODY_BYTES};

/// What a request counts for in the ready queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SizeClass {
    /// It is worked on with others, up to a limit of such bytes.
    Small(usize),
    /// The same, of those of which one batch is worked on at a time.
    Large(usize),
}

impl SizeClass {
    /// Looks at a request that came in. What is not packed costs no look at the body.
    pub(super) fn of(envelope: &Envelope) -> Self {
        let declared = match envelope.content_encoding() {
            None => Declared::default(),
            // A declaration that nobody can follow is no reason to unpack anything.
            encoding => Declared::read(None, encoding, envelope.compression()).unwrap_or_default(),
        };
        of(declared, envelope.body(), envelope.size())
    }
}

fn of(declared: Declared, body: &[u8], size: usize) -> SizeClass {
    let Some(coding) = declared.coding else {
        return if body.len() >= LARGE_BODY_BYTES {
            SizeClass::Large(size)
        } else {
            SizeClass::Small(size)
        };
    };
    let unpacked = if body.len() <= MEASURED_BODY_BYTES {
        unpacked_size(coding, body, LARGE_BODY_BYTES)
    } else {
        None
    };
    match unpacked {
        Some(unpacked) => SizeClass::Small(size + unpacked),
        // How large it is shows when it is unpacked: it is the last one of its batch.
        None => SizeClass::Large(size.max(LARGE_BATCH_BYTES_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::coding::Coding;

    fn packed(plain: &[u8]) -> (Declared, Vec<u8>) {
        let declared = Declared {
            coding: Some(Coding::Zstd),
            charset: None,
        };
        (declared, zstd::encode_all(plain, 1).unwrap())
    }

    #[test]
    fn a_plain_body_is_what_it_is() {
        let plain = Declared::default();
        let (small, large) = (vec![0; LARGE_BODY_BYTES - 1], vec![0; LARGE_BODY_BYTES]);
        assert_eq!(of(plain, &small, 7), SizeClass::Small(7));
        assert_eq!(of(plain, &large, 8), SizeClass::Large(8));
    }

    #[test]
    fn a_packed_body_is_what_it_unpacks_to() {
        let (declared, small) = packed(&[0; LARGE_BODY_BYTES - 1]);
        assert!(small.len() < 100);
        assert_eq!(
            of(declared, &small, 10),
            SizeClass::Small(10 + LARGE_BODY_BYTES - 1)
        );
        let (declared, bomb) = packed(&[0; LARGE_BODY_BYTES]);
        assert_eq!(
            of(declared, &bomb, 10),
            SizeClass::Large(LARGE_BATCH_BYTES_MAX)
        );
        // To look at many of these would take long.
        let unmeasured = vec![0; MEASURED_BODY_BYTES + 1];
        assert_eq!(
            of(declared, &unmeasured, 10),
            SizeClass::Large(LARGE_BATCH_BYTES_MAX)
        );
        assert_eq!(of(declared, b"broken", 10), SizeClass::Small(10));
    }
}
