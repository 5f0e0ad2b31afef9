//! The trace that makes a row known to a request that nothing names.

use super::super::error::StoreError;
use super::super::pool::Store;
use super::columns::texts;
use crate::domain::identity::{ProfileId, RequestId};

/// Gives rows of profiles the identity of their request. One that has an identity keeps it, and of
/// several with one identity the first has it: the others stay as they are.
const MARK: &str = "
WITH wanted AS (
    SELECT DISTINCT ON (db_id, request_id) db_id, id, request_id
    FROM unnest($1::bigint[], $2::text[], $3::bytea[]) WITH ORDINALITY AS w (db_id, id, request_id, ordinal)
    ORDER BY db_id, request_id, ordinal
)
UPDATE profiles SET request_id = wanted.request_id FROM wanted
WHERE profiles.db_id = wanted.db_id AND profiles.id = wanted.id
    AND profiles.request_id IS NULL AND profiles.email IS NULL
    AND NOT EXISTS (SELECT 1 FROM profiles AS other WHERE other.db_id = wanted.db_id
                    AND other.request_id = wanted.request_id AND other.email IS NULL)";

/// Another worker may mark an equal request between our look and our update; then the look finds
/// its row. More often than this nobody comes in between by chance.
const MARKS_MAX: u32 = 3;

impl Store {
    /// Leaves a trace in rows that nothing could find again: those of profiles that have no email,
    /// of requests without a `message_id`. A redelivery of such a request, which is looked for by
    /// the same `request_id`, then finds its row
    /// ([`Stored::AddedBefore`](super::Stored::AddedBefore)).
    ///
    /// A row that has a `request_id` or an email, that is gone, or whose `request_id` another row
    /// of the database has, is left as it is.
    pub async fn mark(&self, rows: &[(i64, ProfileId, RequestId)]) -> Result<(), StoreError> {
        let mut marked = Ok(());
        for _ in 0..MARKS_MAX {
            marked = self.mark_once(rows).await;
            if !marked.as_ref().is_err_and(StoreError::is_unique_violation) {
                break;
            }
        }
        self.explained(marked).await
    }

    async fn mark_once(&self, rows: &[(i64, ProfileId, RequestId)]) -> Result<(), StoreError> {
        let db_ids: Vec<_> = rows.iter().map(|(db_id, ..)| *db_id).collect();
        let ids: Vec<_> = rows.iter().map(|(_, id, _)| id.hex()).collect();
        let request_ids: Vec<_> = rows
            .iter()
            .map(|(.., request_id)| &request_id.0[..])
            .collect();
        let lease = self.lease().await?;
        let statement = lease.prepare(MARK).await?;
        lease
            .execute("mark", &statement, &[&db_ids, &texts(&ids), &request_ids])
            .await?;
        lease.give_back();
        Ok(())
    }
}
