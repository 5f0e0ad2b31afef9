//! One session after the other, for as long as the worker runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{info, warn};

use super::session::{Session, SessionError};
use super::startup::wait_for_room;
use super::{End, StartError};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::health::Part;
use crate::pipeline::lane::{LaneEnd, Shared};
use crate::pipeline::shutdown::Stop;

/// So many sessions in a row that were lost before anything was settled: perhaps a request is to blame, by its form or by what is to be said about it. Each loss counts against all that the
/// broker had handed over, so the next session takes one request at a time: the culprit then counts
/// alone, and the broker gives it up alone.
const FRUITLESS_MAX: u32 = 2;

/// Holds one session after the other.
pub(super) async fn supervise(shared: &Arc<Shared>, mut stop: Stop) -> Result<End, StartError> {
    let health = &shared.vitals.health;
    let mut backoff = Backoff::new();
    let mut started = false;
    let mut complained = None;
    let mut fruitless = 0;
    loop {
        if started {
            // To take requests and lose them again may count against each of them.
            wait_for_room(shared, &mut stop).await;
        }
        let settled_before = shared.settled.load(Ordering::Relaxed);
        let cautious = fruitless >= FRUITLESS_MAX;
        let opened = tokio::select! {
            biased;
            () = stop.requested() => return Ok(End::Finished),
            opened = Session::open(shared, cautious) => opened,
        };
        match opened {
            Ok(session) => {
                (started, complained) = (true, None);
                let end = session.run(stop.clone()).await;
                let suspect = shared.suspects.left_unfinished();
                shared.suspects.clear(&shared.store).await;
                let has_settled = shared.settled.load(Ordering::Relaxed) > settled_before;
                if has_settled {
                    backoff.reset();
                }
                match end {
                    Some(LaneEnd::Finished) => return Ok(End::Finished),
                    Some(LaneEnd::OutOfTime) => return Ok(End::GaveBack),
                    Some(LaneEnd::Parked) => {
                        shared.vitals.metrics.parks.inc();
                        health.trouble(Part::Database, "parked: the database was away for too long");
                        warn!("parked: requests are back in the queue until the database can store them");
                    }
                    Some(LaneEnd::Lost(error)) => {
                        warn!(%error, "lost RabbitMQ; connecting again");
                        shared.vitals.broker_failed(&error);
                        // A suspect that was under way is to blame by itself. While one at a time is taken,
                        // the others get through between two losses.
                        fruitless = match (suspect, has_settled && !cautious) {
                            (true, _) => FRUITLESS_MAX,
                            (false, true) => 0,
                            (false, false) => fruitless + 1,
                        };
                    }
                    None => {
                        info!("nothing was lost for a while: taking many requests at a time again");
                        fruitless = 0;
                    }
                }
            }
            Err(SessionError::Subscribing(error)) if started => {
                warn!(%error, "lost RabbitMQ while subscribing; connecting again");
                shared.vitals.broker_failed(&error);
                health.trouble(Part::Broker, format!("lost RabbitMQ while subscribing: {error}"));
                fruitless += 1;
            }
            Err(SessionError::Connecting(error) | SessionError::Subscribing(error))
                if !error.is_temporary() && !started =>
            {
                return Err(error.into());
            }
            Err(SessionError::Connecting(error) | SessionError::Subscribing(error)) => {
                // Once per reason, not once per attempt.
                let text = error.to_string();
                health.trouble(Part::Broker, format!("waiting for RabbitMQ: {text}"));
                if complained.as_ref() != Some(&text) {
                    warn!("waiting for RabbitMQ: {text}");
                    complained = Some(text);
                }
            }
        }
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(End::Finished),
            () = backoff.wait() => {}
        }
    }
}
