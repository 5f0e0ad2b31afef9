//! Storing a batch of profiles with their subscriptions: one statement, one commit (`insert`). And
//! finding out what stands there already (`find`).

mod columns;
mod find;
mod insert;
mod mark;
mod probe;

use jiff::Timestamp;

use super::email::uniqueness::Uniqueness;
use super::error::StoreError;
use super::lease::Lease;
use super::pool::Store;
use crate::domain::identity::ProfileId;
use crate::domain::profile::NewProfile;
use crate::limits::LARGE_STATEMENT_BYTES;

/// What became of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It stands in the database, under the id that it was given.
    Added,
    /// This very request added it before.
    AddedBefore {
        /// The id that it has.
        id: ProfileId,
        /// When it was added.
        added_at: Timestamp,
    },
    /// Another profile of this database has its email.
    EmailTaken,
}

/// A row may be deleted between the insert that it stopped and the look at it. So often is the
/// insert tried again before that is believed to be something else.
const VANISHED_MAX: u32 = 5;

impl Store {
    /// Adds profiles with their subscriptions, all in one transaction. The result has the order of
    /// the argument.
    ///
    /// Calling this again with the same profiles, after an error that leaves it open whether the
    /// transaction was committed, finds the rows of the first call by their ids.
    pub async fn insert(&self, profiles: &[&NewProfile]) -> Result<Vec<Stored>, StoreError> {
        let believed = self.uniqueness();
        let stored = self.insert_as(believed, profiles).await;
        if stored.as_ref().is_err_and(StoreError::is_undefined_column) {
            // The old column may have been dropped a moment ago; another lane may know it already.
            let unique = self.look_at_uniqueness().await?;
            if unique != believed {
                return self.insert_as(unique, profiles).await;
            }
        }
        stored
    }

    async fn insert_as(
        &self,
        unique: Uniqueness,
        profiles: &[&NewProfile],
    ) -> Result<Vec<Stored>, StoreError> {
        let lease = self.lease().await?;
        let stored = insert_or_find(&lease, unique, profiles).await;
        if let (Ok(_), Some(profile)) = (&stored, profiles.first()) {
            self.has_stored_in(profile.db_id);
        }
        if is_fit_after(&stored) && size(profiles) < LARGE_STATEMENT_BYTES {
            lease.give_back();
        }
        stored
    }
}

/// About the bytes of a statement that adds these.
fn size(profiles: &[&NewProfile]) -> usize {
    profiles
        .iter()
        .map(|profile| profile.data.as_str().len())
        .sum()
}

/// Whether a connection has said its word, and is fit for another statement.
fn is_fit_after<T>(answer: &Result<T, StoreError>) -> bool {
    use StoreError::{Conflict, Denied, Refused, Slow};
    matches!(
        answer,
        Ok(_) | Err(Refused(_) | Conflict(_) | Slow(_) | Denied { .. })
    )
}

/// Inserts what can be inserted, and finds out what stands in the way of the rest.
async fn insert_or_find(
    lease: &Lease,
    unique: Uniqueness,
    profiles: &[&NewProfile],
) -> Result<Vec<Stored>, StoreError> {
    let mut stored = vec![Stored::Added; profiles.len()];
    let mut open: Vec<usize> = (0..profiles.len()).collect();
    for _ in 0..VANISHED_MAX {
        let batch: Vec<_> = open.iter().map(|&index| profiles[index]).collect();
        let left_out = insert::insert(lease, unique, &batch).await?;
        let left_out: Vec<usize> = left_out.into_iter().map(|i| open[i]).collect();
        if left_out.is_empty() {
            return Ok(stored);
        }
        let batch: Vec<_> = left_out.iter().map(|&index| profiles[index]).collect();
        let found = find::find(lease, unique, &batch).await?;
        open.clear();
        for (index, found) in left_out.into_iter().zip(found) {
            match found {
                Some(outcome) => stored[index] = outcome,
                None => open.push(index),
            }
        }
        if open.is_empty() {
            return Ok(stored);
        }
    }
    Err(StoreError::Unavailable(
        "rows come and go while they are inserted".to_owned(),
    ))
}
