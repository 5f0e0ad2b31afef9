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
use crate::domain::identity::{RequestId, RequestIdentity, RequestName};
use crate::store::error::StoreError;
use crate::store::pool::Store;

/// So many deliveries before this one make a suspect: one crash may be anybody's.
const DELIVERIES_MAX: u64 = 2;

/// So often a suspect may be begun alone.
const BEGUN_MAX: u32 = 3;

/// How long a lane waits for a turn before it looks for something else to do.
const TURN_SOON: Duration = Duration::from_millis(100);

/// How long the end of a session may wait for crossing one out.
const CLEAR_MAX: Duration = Duration::from_secs(3);

/// Whether this one is to be taken alone. A classic queue does not count; there every redelivery is
/// suspect.
pub(crate) fn is_suspect(envelope: &Envelope) -> bool {
    envelope.redelivered()
        && envelope
            .deliveries_before()
            .is_none_or(|count| count >= DELIVERIES_MAX)
}

/// The suspect of this process that is under way.
#[derive(Debug, Default)]
pub struct Suspects(Mutex<Option<RequestId>>);

/// A turn with one suspect.
#[derive(Debug)]
pub struct Turn<'s>(MutexGuard<'s, Option<RequestId>>);

impl Suspects {
    /// A turn, if there is one soon. If another suspect is held up, by a lock say, other requests
    /// need not wait for it.
    pub async fn acquire_soon(&self) -> Option<Turn<'_>> {
        tokio::time::timeout(TURN_SOON, self.0.lock())
            .await
            .ok()
            .map(Turn)
    }

    /// Crosses out what was left unfinished although the process lives: the broker was lost, or
    /// time ran out. If that can't be done now it is done with the next turn.
    pub async fn clear(&self, store: &Store) {
        let clearing = async { Turn(self.0.lock().await).clear(store).await };
        match tokio::time::timeout(CLEAR_MAX, clearing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "a suspect could not be crossed out"),
            Err(_) => debug!("a suspect could not be crossed out in time"),
        }
    }
}

impl Turn<'_> {
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
    let name = match envelope.message_id() {
        Some(id) => RequestName::MessageId(id),
        None => RequestName::Unnamed {
            reply_to: envelope.reply_to().unwrap_or_default(),
            correlation_id: envelope.correlation_id().unwrap_or_default(),
        },
    };
    RequestIdentity::of(name, envelope.body()).profile(0)
}
