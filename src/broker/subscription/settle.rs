//! Settling: acknowledging what was answered, or giving it back to the queue. Nothing else
//! acknowledges.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Subscription;
use crate::broker::error::{ANSWER_MAX, BrokerError, within};
use crate::broker::receipt::{BatchReceipt, Receipt, Share};
use crate::broker::subscribed::Subscribed;
use crate::limits::WINDOW_RESUME_BYTES;

/// A connection is not kept open for longer than this after the last acknowledgement.
const KEPT_OPEN_MAX: Duration = Duration::from_secs(2);

impl Subscription {
    /// Acknowledges a batch that was answered. It waits until those before it are answered, too,
    /// and is acknowledged together with them; but not for one that is held up.
    pub async fn settle_batch(&self, receipt: BatchReceipt) -> Result<(), BrokerError> {
        let BatchReceipt {
            shares,
            singles,
            requests,
            bytes,
            at_work,
            large_turn,
        } = receipt;
        // The next batch need not wait until this is acknowledged.
        drop((at_work, large_turn));
        for Share {
            subscribed,
            tags,
            aside,
        } in shares
        {
            subscribed.settle(&tags, aside).await?;
        }
        self.settled(requests, bytes);
        for single in singles {
            self.settle(single).await?;
        }
        Ok(())
    }

    /// Acknowledges one request that was taken out of its batch.
    pub async fn settle(&self, receipt: Receipt) -> Result<(), BrokerError> {
        let Receipt {
            subscribed,
            tag,
            bytes,
            is_beside,
        } = receipt;
        subscribed.settle_single(tag).await?;
        self.settled_one(&subscribed, bytes, is_beside);
        Ok(())
    }

    /// A request waits beside the lanes from now on, for something that it alone needs. It does not
    /// count for how much may come in any more.
    pub fn leave_beside(&self, receipt: &mut Receipt) {
        if !receipt.is_beside {
            receipt.is_beside = true;
            receipt.subscribed.left_beside();
            self.settled(1, receipt.bytes);
        }
    }

    /// Gives one request back to the queue.
    pub async fn give_back(&self, receipt: Receipt) -> Result<(), BrokerError> {
        let Receipt {
            subscribed,
            tag,
            bytes,
            is_beside,
        } = receipt;
        subscribed.give_back(tag).await?;
        self.settled_one(&subscribed, bytes, is_beside);
        Ok(())
    }

    fn settled_one(&self, subscribed: &Subscribed, bytes: usize, is_beside: bool) {
        if is_beside {
            subscribed.no_more_beside();
        } else {
            self.settled(1, bytes);
        }
    }

    fn settled(&self, requests: usize, bytes: usize) {
        if bytes > 0 {
            // Of a batch whose requests are all set aside nothing is settled yet.
            self.has_settled.store(true, Ordering::Relaxed);
        }
        let held = self.gate.settle(requests, bytes);
        if held > WINDOW_RESUME_BYTES {
            // Perhaps nothing was asked for, and nobody else would notice that it is time to.
            self.large.stirred.notify_one();
        }
    }

    /// Waits until the broker has come to what was acknowledged, as far as we can tell.
    pub async fn until_acks_are_taken(&self) {
        let open = self
            .incoming
            .lock()
            .await
            .all_channels()
            .map(|subscribed| subscribed.keep_open())
            .max();
        tokio::time::sleep(open.unwrap_or_default().min(KEPT_OPEN_MAX)).await;
    }

    /// Gives everything that is not answered back to the queue, for others to take.
    pub async fn give_back_all(&self) -> Result<(), BrokerError> {
        // Else what one channel gives back may come to another, and is given back once more.
        let mut incoming = self.incoming.lock().await;
        {
            let _open = self.gate.open();
            within(ANSWER_MAX, "cancel", incoming.until_paused()).await?;
        }
        for subscribed in incoming.all_channels() {
            subscribed.give_back_all().await?;
        }
        Ok(())
    }
}
