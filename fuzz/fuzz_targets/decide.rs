//! Any bytes, any properties: `decide` obeys the contract.

#![no_main]

use libfuzzer_sys::fuzz_target;
use testkit::bad_input::check;

fuzz_target!(|input: &[u8]| check::check(input));
