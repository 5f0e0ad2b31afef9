//! Whatever a message holds, `decide` gives a decision that obeys the contract. `fuzz/` looks for
//! messages of which that is not true, by the same checks; see `make fuzz`.

mod generated;
mod replay;
