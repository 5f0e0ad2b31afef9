//! What a lane does now, and how long each stage of its batch takes.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::recorder::Recorder;
use crate::broker::envelope::Envelope;
use crate::sync::lock;
use crate::telemetry::labels::{Label, Stage};
use crate::telemetry::traces::{BatchTrace, Outline, RequestTrace, StageSpan};

/// With more, passes of the same stage are put together.
const PASSED_MAX: usize = 32;

/// The progress of one lane.
#[derive(Debug)]
pub struct Progress {
    recorder: Arc<Recorder>,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    stage: Stage,
    since: Instant,
    /// How long it was in each stage, of this batch; zero where it was not.
    times: [Duration; Stage::ALL.len()],
    /// The same one by one, for traces, if somebody wants them.
    passed: Vec<StageSpan>,
    /// Requests of the batch that are answered.
    requests: usize,
    /// If something of the batch is recorded.
    trace: Option<BatchTrace>,
}

impl Now {
    /// A batch that is held may go to and fro between two stages for long: that is one pass of each
    /// then.
    fn pass(&mut self, passed: StageSpan) {
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
    pub fn new(recorder: Arc<Recorder>) -> Self {
        recorder.metrics.lanes.of(Stage::Idle).inc();
        let now = Now {
            stage: Stage::Idle,
            since: Instant::now(),
            times: Default::default(),
            passed: Vec::new(),
            requests: 0,
            trace: None,
        };
        Self {
            recorder,
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
            if self.recorder.traces.is_some() {
                now.pass(StageSpan {
                    stage: before,
                    from: since,
                    to: moment,
                });
            }
        }
        (now.stage, now.since) = (stage, moment);
        let lanes = &self.recorder.metrics.lanes;
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
        if let (Some(traces), Some(trace)) = (&self.recorder.traces, trace.take()) {
            traces.end_batch(trace, *requests, passed);
        }
        for (stage, time) in Stage::ALL
            .iter()
            .zip(times)
            .filter(|(_, time)| !time.is_zero())
        {
            self.recorder
                .metrics
                .stage_duration
                .of(*stage)
                .observe(std::mem::take(time).as_secs_f64());
        }
        passed.clear();
        *requests = 0;
    }

    /// The request was decided on, in a batch that was taken up then. Something if it is recorded.
    pub fn trace(&self, envelope: &Envelope, taken_up: Instant) -> Option<Box<RequestTrace>> {
        let traces = self.recorder.traces.as_ref()?;
        let came = envelope.trace_headers();
        traces.begin(came.traceparent, came.tracestate, taken_up)
    }

    /// All that was to be said of so many requests is published. Of each that is recorded there is
    /// its trace, when it came in and, if it is done, what is told of it.
    pub(crate) fn published<'o>(
        &self,
        requests: usize,
        recorded: impl Iterator<Item = (&'o RequestTrace, Instant, Option<Outline<'o>>)>,
    ) {
        let Some(traces) = &self.recorder.traces else {
            return;
        };
        let mut now = self.now();
        now.requests += requests;
        let stored = now.since;
        for (traced, arrived_at, outline) in recorded {
            let trace = now.trace.get_or_insert_with(|| traces.begin_batch());
            trace.link(traced, arrived_at);
            if let Some(outline) = outline {
                traces.end(traced, &outline, stored, trace);
            }
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        lock(&self.now)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let stage = self.now().stage;
        self.recorder.metrics.lanes.of(stage).dec();
    }
}
