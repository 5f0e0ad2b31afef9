//! One session from its first request to its last: the lanes run until one of them ends, or
//! somebody asks for it, and what they held and did not answer goes back to the queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info};

use super::ends::{gives_back, more_telling, unasked, unpanicked};
use super::{Ended, Session};
use crate::observe::health::Part;
use crate::pipeline::deferred::Deferred;
use crate::pipeline::lane::{Lane, LaneEnd};
use crate::pipeline::shutdown::{self, Stop};
use crate::status::{Observed, WorkerStatus};
use crate::worker::caution::CALM;

/// How long the other lanes may go on with their batches when one of them has lost the broker.
const TEAR_DOWN_MAX: Duration = Duration::from_secs(5);

/// Why lanes are asked to end, before any of them has a reason of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The process stops.
    Stop,
    /// Nothing was lost while one request at a time was taken.
    CautiousForLong,
}

impl Session {
    /// Runs the lanes until all have ended, which they do as soon as one has.
    pub(in crate::worker) async fn run(
        mut self,
        status: &Arc<WorkerStatus>,
        mut stop: Stop,
    ) -> Ended {
        let began_at = Instant::now();
        let recorder = self.context.recorder.clone();
        let _observation = status.observe(Observed {
            consuming: self.consuming.clone(),
            publishing: self.connections.publishing.clone(),
            consumer: self.consumer.clone(),
            deferred: self.deferred.clone(),
        });
        if !self.is_cautious {
            recorder.health.well(Part::Broker);
        }
        let (lanes_stop, lane_stop) = shutdown::channel();
        let mut lanes = self.start_lanes(&lane_stop);
        let first = self.first_end(&mut lanes, &mut stop).await;
        let after = began_at.elapsed();
        if let Err(LaneEnd::Lost(error)) = &first {
            recorder
                .health
                .trouble(Part::Broker, format!("lost RabbitMQ: {error}"));
        }
        // Nobody waits for the answers of a session that has failed.
        let patience = match &first {
            Err(_) => TEAR_DOWN_MAX,
            Ok(_) => self.context.config.shutdown_grace,
        };
        lanes_stop.stop(patience);
        // Of a session that has failed nothing can be published any more.
        let idle = first.is_ok().then(|| self.deferred.clone());
        let rest = tokio::time::timeout(patience, self.rest(&mut lanes, idle, lane_stop)).await;
        let rest = rest.unwrap_or(Some(LaneEnd::OutOfTime));
        // Abandoned halfway, if their time ran out: what they stored a redelivery finds.
        lanes.shutdown().await;
        self.deferred.end().await;
        let (asked, first) = match first {
            Ok(asked) => (Some(asked), None),
            Err(end) => (None, Some(end)),
        };
        let end = first.or(rest).unwrap_or(LaneEnd::Finished);
        self.close(&end, &mut stop).await;
        let is_over = matches!(end, LaneEnd::Finished | LaneEnd::OutOfTime);
        if asked == Some(Asked::CautiousForLong) && is_over && !stop.is_requested() {
            Ended::CautiousForLong
        } else {
            Ended::Lane(end, after)
        }
    }

    fn start_lanes(&mut self, stop: &Stop) -> JoinSet<LaneEnd> {
        let mut lanes = JoinSet::new();
        for publisher in std::mem::take(&mut self.publishers) {
            let lane = Lane::new(
                self.context.clone(),
                self.consumer.clone(),
                publisher,
                self.deferred.clone(),
            );
            lanes.spawn(lane.run(stop.clone()));
        }
        lanes
    }

    /// Waits until the lanes are to end, or one of them has.
    async fn first_end(
        &self,
        lanes: &mut JoinSet<LaneEnd>,
        stop: &mut Stop,
    ) -> Result<Asked, LaneEnd> {
        tokio::select! {
            () = stop.requested() => {
                info!("stopping: finishing what is held");
                self.context.recorder.health.trouble(Part::Worker, "stopping");
                Ok(Asked::Stop)
            }
            () = tokio::time::sleep(CALM), if self.is_cautious => Ok(Asked::CautiousForLong),
            error = self.deferred.failed() => Err(LaneEnd::Lost(error)),
            Some(ended) = lanes.join_next() => Err(unasked(unpanicked(ended))),
        }
    }

    /// Waits until all lanes have ended, and what waits beside them is said if `idle` is given.
    /// Returns why they have ended, if not all of them have finished.
    async fn rest(
        &self,
        lanes: &mut JoinSet<LaneEnd>,
        idle: Option<Arc<Deferred>>,
        mut stop: Stop,
    ) -> Option<LaneEnd> {
        let collect = async {
            let mut reason = None;
            while let Some(ended) = lanes.join_next().await {
                reason = more_telling(reason, unpanicked(ended));
            }
            reason
        };
        let (cancelled, reason) = tokio::join!(self.consumer.cancel(), collect);
        if let Err(error) = cancelled {
            debug!(%error, "the consumer did not end in order");
        }
        if let Some(deferred) = idle {
            tokio::select! {
                () = deferred.until_idle() => {}
                () = stop.out_of_time() => return Some(LaneEnd::OutOfTime),
            }
        }
        reason
    }

    /// Gives back what is not answered, and closes the connections.
    async fn close(&self, end: &LaneEnd, stop: &mut Stop) {
        if gives_back(end) {
            if let Err(error) = self.consumer.give_back_all().await {
                debug!(%error, "could not give back what was held; the broker does it when the connection closes");
            }
            tokio::select! {
                () = self.consumer.until_acks_are_taken() => {}
                // What is left of the grace period is for closing in order.
                () = stop.out_of_time() => {}
            }
        }
        self.consuming.close().await;
        self.connections.close().await;
    }
}
