//! What a lane does now, and how long each stage of its batch takes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::job::Job;
use super::vitals::Vitals;
use crate::broker::envelope::Envelope;
use crate::telemetry::labels::{Label, Stage};
use crate::telemetry::traces::{BatchTrace, Passed, Traced};

/// With more, passes of the same stage are put together.
const PASSED_MAX: usize = 32;

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
    /// How long it was in each stage, of this batch; zero where it was not.
    times: [Duration; Stage::ALL.len()],
    /// The same one by one, for traces, if somebody wants them.
    passed: Vec<Passed>,
    /// Requests of the batch that are answered.
    requests: usize,
    /// If something of the batch is recorded.
    trace: Option<BatchTrace>,
}

impl Now {
    /// A batch that is held may go to and fro between two stages for long: that is one pass of each
    /// then.
    fn pass(&mut self, passed: Passed) {
        let again = self.passed.len() >= PASSED_MAX;
        match self
            .passed
            .iter_mut()
            .rev()
            .find(|before| again && before.stage == passed.stage)
        {
            Some(before) => before.to = passed.to,
            None => self.passed.push(passed),
        }
    }
}

impl Progress {
    /// A lane that has no batch.
    pub fn new(vitals: Arc<Vitals>) -> Self {
        vitals.metrics.lanes.of(Stage::Idle).inc();
        let now = Now {
            stage: Stage::Idle,
            since: Instant::now(),
            times: Default::default(),
            passed: Vec::new(),
            requests: 0,
            trace: None,
        };
        Self {
            vitals,
            now: Mutex::new(now),
        }
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
            let since = now.since;
            now.times[before as usize] += moment - since;
            if self.vitals.traces.is_some() {
                now.pass(Passed {
                    stage: before,
                    from: since,
                    to: moment,
                });
            }
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
        let Now {
            times,
            passed,
            requests,
            trace,
            ..
        } = &mut *self.now();
        if let (Some(traces), Some(trace)) = (&self.vitals.traces, trace.take()) {
            traces.end_batch(trace, *requests, passed);
        }
        for (stage, time) in Stage::ALL
            .iter()
            .zip(times)
            .filter(|(_, time)| !time.is_zero())
        {
            self.vitals
                .metrics
                .stage_duration
                .of(*stage)
                .observe(std::mem::take(time).as_secs_f64());
        }
        passed.clear();
        *requests = 0;
    }

    /// The request was decided on, in a batch that was taken up then. Something if it is recorded.
    pub fn trace(&self, envelope: &Envelope, taken_up: Instant) -> Option<Box<Traced>> {
        let traces = self.vitals.traces.as_ref()?;
        traces.begin(envelope.trace_headers(), taken_up)
    }

    /// All that was to be said of these is published; the first `answered` of them are done.
    pub fn published(&self, jobs: &[Job], answered: usize) {
        let Some(traces) = &self.vitals.traces else {
            return;
        };
        let Now {
            since: stored,
            requests,
            trace,
            ..
        } = &mut *self.now();
        *requests += jobs.len();
        for (place, job) in jobs.iter().enumerate() {
            let Some(traced) = &job.traced else { continue };
            let trace = trace.get_or_insert_with(|| traces.begin_batch());
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
