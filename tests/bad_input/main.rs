//! Whatever a message holds, `decide` gives a decision that obeys the contract. `fuzz/` looks for
//! messages of which that is not true, by the same checks; see `make fuzz`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod check;
mod frames;
mod generate;
mod generated;
mod properties;
mod replay;
