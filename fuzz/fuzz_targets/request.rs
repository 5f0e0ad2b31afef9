//! Requests made of the fuzzer's bytes, valid and nearly valid: what must be the same of them
//! however they are written, is.

#![no_main]

use arbtest::arbitrary::{self, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use testkit::bad_input::properties;

/// One of them, by the first byte.
const PROPERTIES: [fn(&mut Unstructured<'_>) -> arbitrary::Result<()>; 6] = [
    properties::requests_obey_the_contract,
    properties::valid_requests_are_accepted,
    properties::what_is_read_and_written_again_is_the_same,
    properties::blanks_and_escapes_mean_nothing,
    properties::the_order_of_names_means_nothing,
    properties::json_and_xml_say_the_same,
];

fuzz_target!(|input: &[u8]| -> Corpus {
    let mut u = Unstructured::new(input);
    match u.choose(&PROPERTIES).and_then(|holds| holds(&mut u)) {
        Ok(()) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});
