//! One session after the other, for as long as the worker runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::caution::Caution;
use super::end::{End, StartError};
use super::session::{Ended, Session};
use super::startup::wait_for_room;
use crate::broker::error::BrokerError;
use crate::observe::health::Part;
use crate::pipeline::backoff::Backoff;
use crate::pipeline::context::Context;
use crate::pipeline::lane::LaneEnd;
use crate::pipeline::shutdown::Stop;
use crate::status::WorkerStatus;

/// Holds one session after the other.
pub(super) async fn supervise(
    context: &Arc<Context>,
    status: &Arc<WorkerStatus>,
    mut stop: Stop,
) -> Result<End, StartError> {
    let mut supervisor = Supervisor {
        context: context.clone(),
        status: status.clone(),
        backoff: Backoff::new(),
        caution: Caution::default(),
        has_started: false,
        complained_of: None,
        missing: None,
    };
    loop {
        if supervisor.has_started {
            // To take requests and lose them again may count against each of them.
            wait_for_room(context, &mut stop).await;
        }
        let is_cautious = supervisor.caution.is_due();
        let missing = supervisor.missing.as_ref();
        let opened = tokio::select! {
            biased;
            () = stop.requested() => return Ok(End::Finished),
            opened = Session::open(context, is_cautious, missing) => opened,
        };
        match opened {
            Ok(session) => {
                if let Some(end) = supervisor.hold(session, stop.clone()).await {
                    return Ok(end);
                }
            }
            Err(error) if !error.is_temporary() && !supervisor.has_started => {
                return Err(error.into());
            }
            Err(error) => supervisor.could_not_open(error),
        }
        if supervisor.caution.is_hasty() {
            // Nobody is answered until the broker has given the culprit up.
            continue;
        }
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(End::Finished),
            () = supervisor.backoff.wait() => {}
        }
    }
}

/// What is known from one session to the next.
struct Supervisor {
    context: Arc<Context>,
    status: Arc<WorkerStatus>,
    backoff: Backoff,
    caution: Caution,
    /// There was a session.
    has_started: bool,
    /// Why there is none, as it was said: once per reason, not once per attempt.
    complained_of: Option<String>,
    /// What the last session could not do without.
    missing: Option<BrokerError>,
}

impl Supervisor {
    /// Holds a session until it ends; something, if the worker does.
    async fn hold(&mut self, session: Session, stop: Stop) -> Option<End> {
        let context = self.context.clone();
        if let Some(missing) = self.missing.take() {
            info!("what was missing is there again: {missing}");
        }
        (self.has_started, self.complained_of) = (true, None);
        // A session that settles something is no failed attempt, however soon it ends.
        let settled_before = context.settled.load(Ordering::Relaxed);
        let ended = session.run(&self.status, stop).await;
        // The process lives, so whoever was alone under way has not ended it.
        context.suspects.clear(&context.store).await;
        if context.settled.load(Ordering::Relaxed) > settled_before {
            self.backoff.reset();
        }
        match ended {
            Ended::Lane(LaneEnd::Finished, _) => return Some(End::Finished),
            Ended::Lane(LaneEnd::OutOfTime, _) => return Some(End::GaveBack),
            Ended::Lane(LaneEnd::Parked, _) => {
                context.recorder.metrics.parks.inc();
                warn!("parked: requests are back in the queue until the database can store them");
            }
            Ended::Lane(LaneEnd::Lost(error), _) if error.is_setup() => {
                // What is missing, and what to do, the next attempt to open a session says.
                debug!(%error, "requests are back in the queue until the setup is mended");
                context.recorder.broker_failed(&error);
                context
                    .recorder
                    .health
                    .trouble(Part::Broker, format!("requests stay in the queue: {error}"));
                self.missing = Some(error);
            }
            Ended::Lane(LaneEnd::Lost(error), after) => {
                self.say_lost(&error);
                self.caution.lost(error.accuses(), after);
            }
            Ended::CautiousForLong => {
                info!("nothing was lost for a while: taking many requests at a time again");
                self.caution.is_over();
            }
        }
        None
    }

    fn say_lost(&self, error: &BrokerError) {
        self.context.recorder.broker_failed(error);
        if self.caution.is_due() {
            // It was said when caution began.
            debug!(%error, "lost RabbitMQ once more");
        } else {
            warn!(%error, "lost RabbitMQ; connecting again");
        }
    }

    fn could_not_open(&mut self, error: BrokerError) {
        let context = &self.context;
        let text = error.to_string();
        self.caution.lost(error.accuses(), Duration::ZERO);
        let waits_for = if error.is_setup() {
            "requests stay in the queue"
        } else {
            "waiting for RabbitMQ"
        };
        context
            .recorder
            .health
            .trouble(Part::Broker, format!("{waits_for}: {text}"));
        if self.complained_of.as_ref() != Some(&text) {
            warn!("{waits_for}: {text}");
            self.complained_of = Some(text);
        }
    }
}
