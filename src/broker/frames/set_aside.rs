//! What the library can't take, until our code asks for it.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;

use crate::sync::lock;

/// More is never set aside: the connection ends first. It takes hundreds of messages whose
/// properties fill a frame, all delivered and none of them taken, which the read gate does not let
/// happen.
const BYTES_MAX: usize = 96 << 20;

/// Bytes that were taken out of what one connection received, each under a number of its own.
#[derive(Debug, Default)]
pub struct SetAside(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    next: i64,
    bytes: usize,
    by_number: HashMap<i64, Vec<u8>>,
}

impl SetAside {
    /// Keeps these bytes; the number to ask for them by. An error if too much is kept already.
    pub(crate) fn put(&self, bytes: &[u8]) -> io::Result<i64> {
        let mut kept = lock(&self.0);
        if kept.bytes + bytes.len() > BYTES_MAX {
            return Err(io::Error::other(
                "too many deliveries with properties that are no text are under way",
            ));
        }
        let number = kept.next;
        kept.next += 1;
        kept.bytes += bytes.len();
        kept.by_number.insert(number, bytes.to_vec());
        Ok(number)
    }

    /// Gives away what was kept under a number.
    pub(crate) fn take(&self, number: i64) -> Option<Vec<u8>> {
        let mut kept = lock(&self.0);
        let bytes = kept.by_number.remove(&number)?;
        kept.bytes -= bytes.len();
        Some(bytes)
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> usize {
        lock(&self.0).bytes
    }
}
