//! The metrics as text for Prometheus: what was counted, and what is true now.

use super::snapshot::{BrokerState, Snapshot};
use crate::observe::recorder::Recorder;
use crate::store::directory::DirectoryState;
use crate::store::pool::PoolState;
use crate::telemetry::labels::{Connections, Destination, DirectoryEntries, Label};
use crate::telemetry::logs;
use crate::telemetry::metrics::{Metrics, Raise};
use crate::telemetry::process;
use crate::telemetry::traces::Traces;

/// Writes the metrics down. Two at a time would count up twice what is counted elsewhere.
pub(super) fn text(recorder: &Recorder, snapshot: &Snapshot) -> Result<String, std::fmt::Error> {
    let metrics = &recorder.metrics;
    let is_ready = snapshot.readiness().troubles.is_empty();
    metrics.ready.set(i64::from(is_ready));
    set_broker(metrics, snapshot.broker.as_ref());
    set_pool(metrics, snapshot.pool);
    set_directory(metrics, snapshot.directory.as_ref());
    set_process(metrics);
    metrics.log_lines_dropped.raise_to(logs::dropped());
    let dropped = recorder.traces.as_ref().map_or(0, Traces::dropped);
    metrics.spans_dropped.raise_to(dropped);
    metrics.encode()
}

fn set_pool(metrics: &Metrics, pool: PoolState) {
    let PoolState {
        max,
        idle,
        busy,
        waiting,
        opened,
    } = pool;
    let connections = &metrics.database_connections;
    connections.of(Connections::Idle).set(number(idle));
    connections.of(Connections::Busy).set(number(busy));
    metrics.database_connections_max.set(number(max));
    metrics.database_connections_waiting.set(number(waiting));
    metrics.database_connections_opened.raise_to(opened);
}

/// Nothing before it is loaded.
fn set_directory(metrics: &Metrics, directory: Option<&DirectoryState>) {
    let Some(DirectoryState {
        age,
        tokens,
        databases,
        resources,
        fields,
    }) = directory
    else {
        return;
    };
    metrics.directory_age.set(age.as_secs_f64());
    let entries = &metrics.directory_entries;
    entries.of(DirectoryEntries::Tokens).set(number(*tokens));
    entries
        .of(DirectoryEntries::Databases)
        .set(number(*databases));
    entries
        .of(DirectoryEntries::Resources)
        .set(number(*resources));
    entries.of(DirectoryEntries::Fields).set(number(*fields));
}

fn set_process(metrics: &Metrics) {
    let Some(process) = process::look() else {
        return;
    };
    let resident = i64::try_from(process.resident_bytes).unwrap_or(i64::MAX);
    metrics.resident_memory.set(resident);
    metrics.open_files.set(number(process.open_files));
    metrics.cpu.raise_to(process.cpu_seconds);
}

/// Zero where there is no session.
fn set_broker(metrics: &Metrics, broker: Option<&BrokerState>) {
    let (is_blocked, held, backlogs) = broker.map_or_else(Default::default, |broker| {
        (broker.is_blocked, broker.held, &broker.backlogs[..])
    });
    for label in Destination::ALL {
        let of_it = backlogs
            .iter()
            .filter(|backlog| backlog.destination.label() == *label);
        let messages = of_it.map(|backlog| backlog.messages).sum();
        metrics.deferred_messages.of(*label).set(number(messages));
    }
    metrics.publishing_blocked.set(i64::from(is_blocked));
    metrics.unsettled_requests.set(number(held.requests));
    metrics.unsettled_bytes.set(number(held.bytes));
    metrics.prefetch_requests.set(i64::from(held.asked_for));
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
