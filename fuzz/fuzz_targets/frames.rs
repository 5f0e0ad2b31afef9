//! Any bytes from the broker, in any pieces: what goes on to the client library can be parsed by
//! it, and what it could have parsed by itself goes on as it is.

#![no_main]

use arbtest::arbitrary::{self, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use testkit::bad_input::frames;

/// Bytes as they are, or frames made of them, by the first byte.
const CHECKS: [fn(&mut Unstructured<'_>) -> arbitrary::Result<()>; 2] = [
    frames::bytes_that_pass_can_be_parsed,
    frames::frames_that_pass_can_be_parsed,
];

fuzz_target!(|input: &[u8]| -> Corpus {
    let mut u = Unstructured::new(input);
    match u.choose(&CHECKS).and_then(|holds| holds(&mut u)) {
        Ok(()) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});
