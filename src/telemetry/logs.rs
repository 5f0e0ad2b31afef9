//! Logs, on standard error: text for people, JSON for machines.
//!
//! Levels: `error` somebody must act; `warn` degraded, or recovered from a fault; `info` start,
//! stop, changes of state; `debug` one line per batch. Never a token, a body, an email address or
//! a phone number.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::Subscriber;

use crate::config::LogConfig;

/// Begins to log, for the rest of the process.
pub fn init(config: &LogConfig) {
    let builder = Subscriber::builder().with_writer(std::io::stderr).with_env_filter(filter(&config.filter));
    let begun = if config.json {
        tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish())
    } else {
        let ansi = std::io::stderr().is_terminal();
        tracing::subscriber::set_global_default(builder.with_ansi(ansi).with_target(false).finish())
    };
    if begun.is_err() {
        tracing::warn!("logging was set up twice; the first one stays");
    }
    std::panic::set_hook(Box::new(|panic| {
        // Only the place: the message of a panic may quote the text that it stumbled over.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
}

/// The operator's filter, and what must hold whatever it says.
fn filter(text: &str) -> EnvFilter {
    let mut filter = EnvFilter::new(text);
    if !text.contains("lapin") {
        // Says in its own words what we say in ours: that a connection is lost.
        filter = filter.add_directive(off("lapin=off"));
    }
    if !text.contains("deadpool") {
        // The same.
        filter = filter.add_directive(off("deadpool=off"));
    }
    // Logs whole messages that the broker returned, and a reply may hold an email address.
    filter.add_directive(off("lapin::returned_messages=off"))
}

fn off(directive: &'static str) -> Directive {
    match directive.parse() {
        Ok(directive) => directive,
        Err(_) => unreachable!("a constant of the right form"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returned_messages_are_never_logged() {
        for text in ["trace", "lapin=trace", "info,lapin::returned_messages=warn"] {
            let printed = filter(text).to_string();
            assert!(printed.contains("lapin::returned_messages=off"), "{printed}");
            assert!(!printed.contains("lapin::returned_messages=warn"), "{printed}");
        }
    }
}
