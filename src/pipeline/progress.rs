//! What a lane does now, and how long each stage of its batch takes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::job::Job;
use super::vitals::Vitals;
use crate::broker::consumer::Envelope;
use crate::telemetry::labels::{Label, Stage};
use crate::telemetry::traces::{BatchTrace, Passed, Traced};

/// The progress of one lane.
#[derive(Debug)]
pub struct Progress {
    vitals: Arc<Vitals>,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    stage: Stage,
    since: Instant,
    /// What is behind it, of this batch.
    stages: Vec<Passed>,
    /// If something of the batch is recorded.
    trace: Option<BatchTrace>,
}

impl Progress {
    /// A lane that has no batch.
    pub fn new(vitals: Arc<Vitals>) -> Self {
        vitals.metrics.lanes.of(Stage::Idle).inc();
        let now = Now { stage: Stage::Idle, since: Instant::now(), stages: Vec::new(), trace: None };
        Self { vitals, now: Mutex::new(now) }
    }

    /// The batch comes to this stage; returns the one that it was in.
    pub fn enter(&self, stage: Stage) -> Stage {
        let mut now = self.now();
        let before = now.stage;
        if before == stage {
            return before;
        }
        let moment = Instant::now();
        if before != Stage::Idle {
            let passed = Passed { stage: before, from: now.since, to: moment };
            now.stages.push(passed);
        }
        (now.stage, now.since) = (stage, moment);
        let lanes = &self.vitals.metrics.lanes;
        lanes.of(before).dec();
        lanes.of(stage).inc();
        before
    }

    /// The batch is done: records what each stage took in all.
    pub fn finish(&self) {
        self.enter(Stage::Idle);
        let Now { stages, trace, .. } = &mut *self.now();
        if let (Some(traces), Some(trace)) = (&self.vitals.traces, trace.take()) {
            traces.end_batch(trace, stages);
        }
        for stage in Stage::ALL {
            let passes = || stages.iter().filter(|passed| passed.stage == *stage);
            if passes().next().is_some() {
                let seconds = passes().map(|passed| (passed.to - passed.from).as_secs_f64()).sum();
                self.vitals.metrics.stage_duration.of(*stage).observe(seconds);
            }
        }
        stages.clear();
    }

    /// The request was decided on. Something if it is recorded.
    pub fn trace(&self, envelope: &Envelope) -> Option<Box<Traced>> {
        let traces = self.vitals.traces.as_ref()?;
        traces.begin(envelope.trace_headers(), self.now().since)
    }

    /// All that was to be said of these is published; the first `answered` of them are done.
    pub fn published(&self, jobs: &[Job], answered: usize) {
        let Some(traces) = &self.vitals.traces else { return };
        let Now { since: stored, trace, .. } = &mut *self.now();
        if let Some(trace) = trace {
            trace.add(jobs.len());
        }
        for (place, job) in jobs.iter().enumerate() {
            let Some(traced) = &job.traced else { continue };
            let trace = trace.get_or_insert_with(|| traces.begin_batch(jobs.len()));
            trace.link(traced, job.envelope.arrived_at());
            if place < answered {
                traces.end(traced, &job.outline(), *stored, trace);
            }
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // Nothing is left half done behind it.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let stage = self.now().stage;
        self.vitals.metrics.lanes.of(stage).dec();
    }
}
