//! Every setting: its name, its default, its unit, its check.
//!
//! A setting is an environment variable and a flag of the same name (`BATCH_MAX`, `--batch-max`);
//! the flag wins. All problems are reported at once. The only place that reads the environment.

mod commands;
mod parse;
pub mod setting;
mod source;
#[cfg(test)]
mod tests;
mod topology;
mod traces;
mod worker;

pub use self::setting::Setting;
pub use self::source::{Problems, Source};
pub use self::traces::TraceConfig;
pub use self::worker::{AdminAddress, WorkerConfig};
