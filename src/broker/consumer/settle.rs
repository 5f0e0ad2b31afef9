//! Settling: acknowledging what was answered, or giving it back to the queue. Nothing else
//! acknowledges.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::RequestConsumer;
use crate::broker::error::{ANSWER_MAX, BrokerError, within};
use crate::broker::receipt::{BatchReceipt, Receipt, Share};
use crate::limits::WINDOW_RESUME_BYTES;

/// A connection is not kept open for longer than this after the last acknowledgement.
const KEPT_OPEN_MAX: Duration = Duration::from_secs(2);

impl RequestConsumer {
    /// Acknowledges a batch that was answered. It waits until those before it are answered, too,
    /// and is acknowledged together with them; but not for one that is held up.
    pub async fn settle_batch(&self, receipt: BatchReceipt) -> Result<(), BrokerError> {
        let BatchReceipt {
            shares,
            singles,
            requests,
            bytes,
            at_work,
            large_body_permit,
        } = receipt;
        // The next batch need not wait until this is acknowledged.
        drop((at_work, large_body_permit));
        for Share {
            consumer_channel,
            tags,
            aside,
        } in shares
        {
            consumer_channel.settle(&tags, aside).await?;
        }
        self.settled(requests, bytes);
        for single in singles {
            self.settle(single).await?;
        }
        Ok(())
    }

    /// Acknowledges one request that was taken out of its batch.
    pub async fn settle(&self, receipt: Receipt) -> Result<(), BrokerError> {
        receipt.consumer_channel.settle_single(receipt.tag).await?;
        self.settled_one(receipt);
        Ok(())
    }

    /// A request waits beside the lanes from now on, for something that it alone needs. It does not
    /// count for how much may come in any more.
    pub fn defer(&self, receipt: &mut Receipt) {
        if !receipt.is_deferred {
            receipt.is_deferred = true;
            receipt.consumer_channel.defer_one();
            self.settled(1, receipt.bytes);
        }
    }

    /// Gives one request back to the queue.
    pub async fn give_back(&self, receipt: Receipt) -> Result<(), BrokerError> {
        receipt.consumer_channel.give_back(receipt.tag).await?;
        self.settled_one(receipt);
        Ok(())
    }

    fn settled_one(&self, receipt: Receipt) {
        if receipt.is_deferred {
            receipt.consumer_channel.end_deferred();
        } else {
            self.settled(1, receipt.bytes);
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
            .map(|consumer_channel| consumer_channel.keep_open())
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
        for consumer_channel in incoming.all_channels() {
            consumer_channel.give_back_all().await?;
        }
        Ok(())
    }
}
