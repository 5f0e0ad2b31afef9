//! What a lane does now, and how long each stage of its batch takes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::vitals::Vitals;
use crate::telemetry::labels::{Label, Stage};

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
}

/// A stage that a batch has passed through; it may pass through one several times.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// Which.
    pub stage: Stage,
    /// When it began.
    pub from: Instant,
    /// When it ended.
    pub to: Instant,
}

impl Progress {
    /// A lane that has no batch.
    pub fn new(vitals: Arc<Vitals>) -> Self {
        vitals.metrics.lanes.of(Stage::Idle).inc();
        Self { vitals, now: Mutex::new(Now { stage: Stage::Idle, since: Instant::now(), stages: Vec::new() }) }
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
        let stages = &mut self.now().stages;
        for stage in Stage::ALL {
            let passes = || stages.iter().filter(|passed| passed.stage == *stage);
            if passes().next().is_some() {
                let seconds = passes().map(|passed| (passed.to - passed.from).as_secs_f64()).sum();
                self.vitals.metrics.stage_duration.of(*stage).observe(seconds);
            }
        }
        stages.clear();
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
