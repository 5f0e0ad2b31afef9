//! Any bytes, any properties: `decide` obeys the contract.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/bad_input/check.rs"]
mod check;

fuzz_target!(|input: &[u8]| check::check(input));
