//! Requests that may have ended a worker: how often each was begun alone and not finished. It is
//! written down where no crash of ours can lose it.

use super::error::StoreError;
use super::pool::Store;
use crate::domain::identity::RequestId;

/// Notes the beginning, and forgets what is a day old: whatever came of it, nobody counts on it.
const BEGIN: &str = "
WITH forgotten AS (
    DELETE FROM suspects WHERE begun_at < now() - interval '1 day' AND request_id <> $1
)
INSERT INTO suspects (request_id, begun, begun_at) VALUES ($1, 1, now())
ON CONFLICT (request_id) DO UPDATE SET
    begun = CASE WHEN suspects.begun_at < now() - interval '1 day' THEN 1 ELSE suspects.begun + 1 END,
    begun_at = now()
RETURNING begun";

const FINISH: &str = "DELETE FROM suspects WHERE request_id = $1";

impl Store {
    /// A suspect is begun. Returns how often it was, this time included, without being finished.
    pub async fn begin_suspect(&self, request: RequestId) -> Result<u32, StoreError> {
        self.explained(begin(self, request).await).await
    }

    /// A suspect is finished, or was left unfinished for a reason that is no fault of its own.
    pub async fn finish_suspect(&self, request: RequestId) -> Result<(), StoreError> {
        self.explained(finish(self, request).await).await
    }
}

async fn begin(store: &Store, request: RequestId) -> Result<u32, StoreError> {
    let lease = store.lease().await?;
    let statement = lease.prepare(BEGIN).await?;
    let row = lease
        .query_one("suspect", &statement, &[&&request.0[..]])
        .await?;
    lease.give_back();
    let begun: i32 = row.get(0);
    Ok(u32::try_from(begun).unwrap_or(0))
}

async fn finish(store: &Store, request: RequestId) -> Result<(), StoreError> {
    let lease = store.lease().await?;
    let statement = lease.prepare(FINISH).await?;
    lease
        .execute("suspect", &statement, &[&&request.0[..]])
        .await?;
    lease.give_back();
    Ok(())
}
