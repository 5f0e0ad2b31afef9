//! The properties, of as many requests as can be made in a moment. `ARBTEST_BUDGET_MS` gives each
//! more time; a failure prints a seed, with which `ARBTEST_SEED` repeats it.

use arbtest::arbitrary::{Result, Unstructured};
use arbtest::arbtest;

use testkit::bad_input::{frames, properties};

/// How long each property is tried in every test run.
const MOMENT_MS: u64 = 400;

fn holds(property: fn(&mut Unstructured<'_>) -> Result<()>) {
    // Most requests take some hundred bytes; what is left of more was made for nothing.
    let test = arbtest(property).size_min(64).size_max(4096);
    if std::env::var_os("ARBTEST_BUDGET_MS").is_some() {
        test.run();
    } else {
        test.budget_ms(MOMENT_MS).run();
    }
}

#[test]
fn requests_obey_the_contract() {
    holds(properties::requests_obey_the_contract);
}

#[test]
fn valid_requests_are_accepted() {
    holds(properties::valid_requests_are_accepted);
}

#[test]
fn what_is_read_and_written_again_is_the_same() {
    holds(properties::what_is_read_and_written_again_is_the_same);
}

#[test]
fn blanks_and_escapes_mean_nothing() {
    holds(properties::blanks_and_escapes_mean_nothing);
}

#[test]
fn the_order_of_names_means_nothing() {
    holds(properties::the_order_of_names_means_nothing);
}

#[test]
fn json_and_xml_say_the_same() {
    holds(properties::json_and_xml_say_the_same);
}

#[test]
fn frames_that_pass_can_be_parsed() {
    holds(frames::frames_that_pass_can_be_parsed);
}

#[test]
fn bytes_that_pass_can_be_parsed() {
    holds(frames::bytes_that_pass_can_be_parsed);
}
