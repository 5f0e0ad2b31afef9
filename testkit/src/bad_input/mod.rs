//! What must hold of the decision, and of our reader of frames, on any bytes at all; and bytes to
//! try it with. `tests/it` tries some in each run, `fuzz/` looks for more.

pub mod check;
pub mod frames;
pub mod generate;
pub mod properties;
