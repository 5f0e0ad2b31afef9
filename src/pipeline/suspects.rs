//! Requests that may have ended a worker. Each is taken alone; one that ended its worker three
//! times is given up.
//!
//! A request that kills the process can't be told from its neighbours by the crash. But whatever
//! was delivered several times is suspect, and of suspects only one is under way at a time, which
//! is written down before and crossed out afterwards. What is written down and was not crossed out
//! is the culprit. It is crossed out after a while, too, although it is not finished: then it waits
//! for a server, and whoever ends the process meanwhile says nothing about it. The broker's own
//! counts will not do for this: what they count differs between RabbitMQ's versions, classic queues
//! have none, and a lost connection counts against the innocent.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tracing::debug;

use crate::broker::envelope::Envelope;
use crate::broker::request_headers::HeaderBytes;
use crate::domain::identity::{RequestId, RequestIdentity, RequestName};
use crate::store::error::StoreError;
use crate::store::pool::Store;

/// So many deliveries before this one make a suspect: one crash may be anybody's.
const DELIVERIES_MAX: u64 = 2;

/// So often a suspect may be begun alone.
const BEGUN_MAX: u32 = 3;

/// How long a lane waits for that right before it looks for something else to do.
const FREE_SOON: Duration = Duration::from_millis(100);

/// How long the end of a session may wait for crossing one out.
const CLEAR_MAX: Duration = Duration::from_secs(3);

/// Whether this one is to be taken alone. A classic queue does not count; there every redelivery is
/// suspect.
pub(crate) fn is_suspect(envelope: &Envelope) -> bool {
    envelope.redelivered() && came_too_often(envelope.deliveries_before())
}

/// Whether a redelivered request was delivered so often before that a crash may be its fault.
fn came_too_often(deliveries_before: Option<u64>) -> bool {
    deliveries_before.is_none_or(|count| count >= DELIVERIES_MAX)
}

/// The suspect of this process that is under way.
#[derive(Debug, Default)]
pub struct Suspects(Mutex<Option<RequestId>>);

/// The right to work on a suspect; there is one in a process.
#[derive(Debug)]
pub struct SuspectGuard<'s>(MutexGuard<'s, Option<RequestId>>);

impl Suspects {
    /// The right to work on a suspect, if it is free soon. If another suspect is held up, by a lock
    /// say, other requests need not wait for it.
    pub async fn acquire_soon(&self) -> Option<SuspectGuard<'_>> {
        tokio::time::timeout(FREE_SOON, self.0.lock())
            .await
            .ok()
            .map(SuspectGuard)
    }

    /// Crosses out what was left unfinished although the process lives: the broker was lost, or
    /// time ran out. If that can't be done now it is done with the next one.
    pub async fn clear(&self, store: &Store) {
        let clearing = async { SuspectGuard(self.0.lock().await).clear(store).await };
        match tokio::time::timeout(CLEAR_MAX, clearing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "a suspect could not be crossed out"),
            Err(_) => debug!("a suspect could not be crossed out in time"),
        }
    }
}

impl SuspectGuard<'_> {
    /// Writes down that this one is begun. False if it is to be given up.
    pub async fn begin(&mut self, envelope: &Envelope, store: &Store) -> Result<bool, StoreError> {
        self.clear(store).await?;
        let request = identity(envelope);
        // Before it is written down: if the answer is lost, it is crossed out all the same.
        *self.0 = Some(request);
        let begun = store.begin_suspect(request).await?;
        Ok(begun <= BEGUN_MAX)
    }

    /// Crosses out the one that was begun.
    pub async fn clear(&mut self, store: &Store) -> Result<(), StoreError> {
        if let Some(request) = *self.0 {
            store.finish_suspect(request).await?;
            *self.0 = None;
        }
        Ok(())
    }
}

fn identity(envelope: &Envelope) -> RequestId {
    let name = match (envelope.message_id(), envelope.message_id_header()) {
        (Some(id), _) => RequestName::MessageId(id),
        (None, Some(HeaderBytes { is_text, bytes: id })) => {
            RequestName::MessageIdHeader { is_text, id }
        }
        (None, None) => RequestName::Unnamed {
            reply_to: envelope.reply_to().unwrap_or_default(),
            correlation_id: envelope.reply_key().unwrap_or_default(),
        },
    };
    RequestIdentity::of(name, envelope.body()).profile(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_crash_makes_nobody_suspect_but_without_a_count_every_redelivery_is() {
        for (deliveries_before, expected) in [
            (Some(0), false),
            (Some(1), false),
            (Some(2), true),
            (Some(9), true),
            (None, true),
        ] {
            assert_eq!(
                came_too_often(deliveries_before),
                expected,
                "{deliveries_before:?}"
            );
        }
    }

    #[tokio::test]
    async fn one_suspect_is_under_way_in_a_process_and_nobody_waits_long_for_it() {
        let suspects = Suspects::default();
        let guard = suspects.acquire_soon().await.expect("nobody has it");
        assert!(suspects.acquire_soon().await.is_none());
        drop(guard);
        assert!(suspects.acquire_soon().await.is_some());
    }
}
