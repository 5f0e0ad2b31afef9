//! The metrics: one catalogue of their names, labels and meanings, and the only place that names
//! one. The table in `docs/metrics.md` is made from it.
//!
//! Names and units follow [Prometheus' conventions]. A label's values are a closed set each, so the
//! number of series has a bound, and all of them are there from the start: a rate over a series
//! that appears with its first event misses that event.
//!
//! [Prometheus' conventions]: https://prometheus.io/docs/practices/naming/

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::{
    Build, Connections, Destination, DirectoryEntries, FailureKind, Labelled, LossCause,
    ProfileOutcome, Redelivered, Registered, ReplyRoute, Stage,
};
use crate::domain::outcome::{Code, DeadLetterReason};

/// One metric, as the documentation tells of it.
#[derive(Debug)]
pub struct Entry {
    /// With prefix, unit and, for a counter, `_total`.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The label, if it has one, and its values.
    pub label: Option<(&'static str, Vec<&'static str>)>,
    /// What it counts or measures.
    pub help: &'static str,
}

macro_rules! catalogue {
    ($($field:ident: $type:ty = $make:expr, $name:literal, $help:literal;)*) => {
        /// Every metric of a worker. Recording one takes an atomic addition or a short lock.
        #[derive(Debug)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: $type,)*
            registry: Registry,
        }

        impl Default for Metrics {
            fn default() -> Self {
                let mut registry = Registry::default();
                $(
                    let $field: $type = $make;
                    $field.register(&mut registry, $name, $help);
                )*
                Self { $($field,)* registry }
            }
        }

        /// All of them, in the order of the documentation.
        pub fn catalogue() -> Vec<Entry> {
            vec![$(Entry { name: $name, kind: <$type>::KIND, label: <$type>::label(), help: $help }),*]
        }
    };
}

catalogue! {
    deliveries: Labelled<Redelivered, Counter> = Labelled::new(Counter::default), "profile_worker_deliveries_total",
        "Requests taken up, and whether the broker had delivered them before";
    decisions: Labelled<Code, Counter> = Labelled::new(Counter::default), "profile_worker_decisions_total",
        "Requests answered, by the code of the answer; one in the batch form counts once";
    profiles: Labelled<ProfileOutcome, Counter> = Labelled::new(Counter::default), "profile_worker_profiles_total",
        "Profiles that the database has an answer for, by what it is";
    replies: Labelled<ReplyRoute, Counter> = Labelled::new(Counter::default), "profile_worker_replies_total",
        "Replies that the broker has confirmed, by the way they went";
    events: Counter = Counter::default(), "profile_worker_events_total",
        "Trigger events that the broker has confirmed";
    dead_letters: Labelled<DeadLetterReason, Counter> = Labelled::new(Counter::default), "profile_worker_dead_letters_total",
        "Messages put into the dead-letter queue by the worker, by the reason";
    dead_letters_dropped: Counter = Counter::default(), "profile_worker_dead_letters_dropped_total",
        "Unreadable messages that were answered and dropped, because the dead-letter queue had no room for long";
    deferred_messages: Labelled<Destination, Gauge> = Labelled::new(Gauge::default), "profile_worker_deferred_messages",
        "Replies, events and dead letters that wait beside the lanes for a queue that is slow, full or gone";
    batch_requests: Histogram = sizes(), "profile_worker_batch_requests",
        "Requests in one batch";
    batch_profiles: Histogram = sizes(), "profile_worker_batch_profiles",
        "Profiles in one transaction";
    stage_duration: Labelled<Stage, Histogram> = Labelled::new(durations), "profile_worker_stage_duration_seconds",
        "Time that a batch spends in one stage; idle is a stage of lanes only";
    request_duration: Histogram = durations(), "profile_worker_request_duration_seconds",
        "Time from a request's arrival in the worker until it is acknowledged";
    lanes: Labelled<Stage, Gauge> = Labelled::new(Gauge::default), "profile_worker_lanes",
        "Lanes, by the stage of the batch that they work on";
    unsettled_requests: Gauge = Gauge::default(), "profile_worker_unsettled_requests",
        "Requests that came in and are not acknowledged yet";
    unsettled_bytes: Gauge = Gauge::default(), "profile_worker_unsettled_bytes",
        "Bytes of their bodies";
    prefetch_requests: Gauge = Gauge::default(), "profile_worker_prefetch_requests",
        "Unsettled requests that the broker is asked for now: fewer if they are large, none for moments";
    ready: Gauge = Gauge::default(), "profile_worker_ready",
        "1 if the worker takes requests and can store and answer them, else 0";
    publishing_blocked: Gauge = Gauge::default(), "profile_worker_publishing_blocked",
        "1 while the broker is low on memory or disk and takes no messages, else 0";
    broker_sessions: Counter = Counter::default(), "profile_worker_broker_sessions_total",
        "Sessions with the broker that were opened: one at the start, one after each loss, parking, or time of caution";
    broker_losses: Labelled<LossCause, Counter> = Labelled::new(Counter::default), "profile_worker_broker_losses_total",
        "Sessions with the broker that were lost, by the cause";
    parks: Counter = Counter::default(), "profile_worker_parks_total",
        "Times that all requests were given back to the queue, because the database was away for too long";
    database_failures: Labelled<FailureKind, Counter> = Labelled::new(Counter::default), "profile_worker_database_failures_total",
        "Attempts of lanes to store or to look something up that failed, by the kind of failure";
    database_connections: Labelled<Connections, Gauge> = Labelled::new(Gauge::default), "profile_worker_database_connections",
        "Connections to the database in the pool";
    database_connections_max: Gauge = Gauge::default(), "profile_worker_database_connections_max",
        "The most connections that the pool may have";
    database_connections_waiting: Gauge = Gauge::default(), "profile_worker_database_connections_waiting",
        "Lanes that wait for a connection";
    database_connections_opened: Counter = Counter::default(), "profile_worker_database_connections_opened_total",
        "Connections to the database that were opened for the pool";
    directory_age: Gauge<f64, AtomicU64> = Gauge::default(), "profile_worker_directory_age_seconds",
        "Time since tokens, databases and resources were last known to be as they are in the database";
    directory_entries: Labelled<DirectoryEntries, Gauge> = Labelled::new(Gauge::default), "profile_worker_directory_entries",
        "What the worker knows of who may do what";
    log_lines_dropped: Counter = Counter::default(), "profile_worker_log_lines_dropped_total",
        "Log lines that were dropped, because standard error was not read in time";
    spans_dropped: Counter = Counter::default(), "profile_worker_spans_dropped_total",
        "Spans that were dropped, because the collector of traces did not take them";
    build_info: Labelled<Build, Gauge> = Labelled::new(Gauge::default), "profile_worker_build_info",
        "1, with the version of the worker as its label";
    start_time: Gauge<f64, AtomicU64> = Gauge::default(), "process_start_time_seconds",
        "When the worker was started, in seconds since 1970";
    resident_memory: Gauge = Gauge::default(), "process_resident_memory_bytes",
        "Memory that the worker has now (Linux)";
    cpu: Counter<f64, AtomicU64> = Counter::default(), "process_cpu_seconds_total",
        "CPU time that the worker has used (Linux)";
    open_files: Gauge = Gauge::default(), "process_open_fds",
        "Files and connections that the worker has open (Linux)";
}

impl Metrics {
    /// The text that Prometheus reads, in the OpenMetrics form.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(32 * 1024);
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A counter of what is counted elsewhere.
pub trait Raise<N> {
    /// Brings it up to that.
    fn raise_to(&self, count: N);
}

impl Raise<u64> for Counter {
    fn raise_to(&self, count: u64) {
        self.inc_by(count.saturating_sub(self.get()));
    }
}

impl Raise<f64> for Counter<f64, AtomicU64> {
    fn raise_to(&self, count: f64) {
        self.inc_by((count - self.get()).max(0.0));
    }
}

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From a lonely request, decided on in 0.05 ms, to one that waits for a database that is away:
/// more than that is parked.
fn durations() -> Histogram {
    Histogram::new([
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
        5.0, 10.0, 30.0, 60.0, 300.0,
    ])
}

/// Up to the largest `BATCH_MAX`.
fn sizes() -> Histogram {
    Histogram::new([
        1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0,
    ])
}

/// The catalogue as a table in Markdown.
pub fn table() -> String {
    let mut table = String::from("| metric | kind | label | meaning |\n|---|---|---|---|\n");
    for Entry {
        name,
        kind,
        label,
        help,
    } in catalogue()
    {
        let label = label.map_or(String::new(), |(label, values)| match values.as_slice() {
            [_] => format!("`{label}`"),
            values => format!("`{label}`: {}", values.join(", ")),
        });
        table.push_str(&format!("| `{name}` | {kind} | {label} | {help} |\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_the_table() {
        crate::documents::has_table("metrics.md", &table());
    }

    #[test]
    fn names_follow_the_conventions() {
        for Entry {
            name,
            kind,
            label,
            help,
        } in catalogue()
        {
            assert!(
                name.starts_with("profile_worker_") || name.starts_with("process_"),
                "{name}"
            );
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            assert!(!help.ends_with('.'), "{name}");
            if let Some((label, values)) = label {
                assert!(
                    !label.is_empty() && !values.is_empty() && values.len() <= 10,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn every_series_is_there_from_the_start() {
        let text = Metrics::default().encode().unwrap();
        for Entry {
            name, kind, label, ..
        } in catalogue()
        {
            let name = if kind == "histogram" {
                format!("{name}_count")
            } else {
                name.to_owned()
            };
            match label {
                None => assert!(text.contains(&format!("\n{name} 0")), "{name}"),
                Some((label, values)) => {
                    for value in values {
                        assert!(
                            text.contains(&format!("\n{name}{{{label}=\"{value}\"}} 0")),
                            "{name} {value}"
                        );
                    }
                }
            }
        }
    }
}
