//! How a worker ends: first it is asked to stop, then its time runs out.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The part of the grace period that lanes may use for finishing what they hold. The rest is for
/// giving back what they did not finish, and for closing the connections in order.
const DRAIN_SHARE: f64 = 0.8;

/// The side that asks the others to stop.
#[derive(Debug)]
pub(crate) struct StopHandle(watch::Sender<Option<Instant>>);

/// The side that is asked to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<Option<Instant>>);

/// A pair of the two.
pub(crate) fn channel() -> (StopHandle, Stop) {
    let (sender, receiver) = watch::channel(None);
    (StopHandle(sender), Stop(receiver))
}

impl StopHandle {
    /// Asks all to stop taking requests and to finish what they hold within `grace`. Only the
    /// first call counts.
    pub(crate) fn stop(&self, grace: Duration) {
        self.0.send_if_modified(|deadline| {
            let first = deadline.is_none();
            if first {
                *deadline = Some(Instant::now() + grace.mul_f64(DRAIN_SHARE));
            }
            first
        });
    }
}

impl Stop {
    /// Resolves when it is time to stop taking requests.
    pub(crate) async fn requested(&mut self) {
        if self.0.wait_for(Option::is_some).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }

    /// Whether it is time to stop taking requests.
    pub(crate) fn is_requested(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Resolves when it is time to give back what is still held.
    pub(crate) async fn out_of_time(&mut self) {
        self.requested().await;
        let deadline = *self.0.borrow();
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_out_of_time_within(stop: &mut Stop, limit: Duration) -> bool {
        tokio::time::timeout(limit, stop.out_of_time())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn lanes_have_most_of_the_grace_period_and_only_the_first_call_counts() {
        let (handle, mut stop) = channel();
        assert!(!stop.is_requested());
        handle.stop(Duration::from_millis(100));
        handle.stop(Duration::from_secs(3600));
        assert!(stop.is_requested());
        stop.requested().await;
        assert!(!is_out_of_time_within(&mut stop, Duration::from_millis(20)).await);
        assert!(is_out_of_time_within(&mut stop, Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn nobody_is_asked_when_the_one_who_could_ask_is_gone() {
        let (handle, mut stop) = channel();
        drop(handle);
        assert!(!is_out_of_time_within(&mut stop, Duration::from_millis(20)).await);
        assert!(!stop.is_requested());
    }
}
