//! Storing a batch, come what may: wait while the database is away, try again after a conflict,
//! halve the batch until what can't be stored stands alone.

use std::ops::Range;

use super::hold::{GaveUp, Hold};
use crate::domain::profile::NewProfile;
use crate::store::error::StoreError;
use crate::store::pool::Store;
use crate::store::profiles::Stored;
use crate::telemetry::labels::ProfileOutcome;

/// What became of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// The database has an answer.
    Stored(Stored),
    /// The database refuses this one although it takes its neighbours; with its SQLSTATE.
    Poison(String),
}

impl Committed {
    /// The same as the metrics name it.
    pub fn outcome(&self) -> ProfileOutcome {
        match self {
            Self::Stored(Stored::Added) => ProfileOutcome::Added,
            Self::Stored(Stored::AddedBefore { .. }) => ProfileOutcome::AddedBefore,
            Self::Stored(Stored::EmailTaken) => ProfileOutcome::EmailTaken,
            Self::Poison(_) => ProfileOutcome::Unstorable,
        }
    }
}

/// Stores all profiles; the result has their order.
///
/// Each attempt carries the same profile ids. So if a connection is lost in the middle of a commit
/// the next attempt finds the rows of the first by their ids, if there are any: the outcome is
/// looked up, not guessed.
pub async fn commit(store: &Store, profiles: &[&NewProfile], hold: &mut Hold<'_>) -> Result<Vec<Committed>, GaveUp> {
    let mut outcomes = vec![Committed::Stored(Stored::Added); profiles.len()];
    let mut work: Vec<Range<usize>> = Vec::new();
    if !profiles.is_empty() {
        work.push(0..profiles.len());
    }
    while let Some(range) = work.pop() {
        let inserted = store.insert(&profiles[range.clone()]).await;
        if let Err(refused @ StoreError::Refused(_)) = &inserted {
            hold.note(refused);
        }
        match inserted {
            Ok(stored) => {
                hold.over();
                for (place, stored) in range.zip(stored) {
                    outcomes[place] = Committed::Stored(stored);
                }
            }
            Err(StoreError::Refused(code)) if range.len() == 1 => outcomes[range.start] = Committed::Poison(code),
            Err(StoreError::Refused(_)) => work.extend(halves(range)),
            Err(error) => {
                let gave_up = hold.after(&error).await;
                // Perhaps it is only one of them that waits for somebody's lock: then the database is not
                // away, and others could not do it either.
                if gave_up.is_err() && store.probe().await.is_err() {
                    return Err(GaveUp);
                }
                if matches!(error, StoreError::Slow(_)) && range.len() > 1 {
                    work.extend(halves(range));
                } else {
                    work.push(range);
                }
            }
        }
    }
    Ok(outcomes)
}

/// The second half first, so that the work stays in order on the stack.
fn halves(range: Range<usize>) -> [Range<usize>; 2] {
    let middle = range.start + range.len() / 2;
    [middle..range.end, range.start..middle]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_cover_the_whole_and_end_at_one() {
        assert_eq!(halves(0..2), [1..2, 0..1]);
        assert_eq!(halves(3..8), [5..8, 3..5]);
    }
}
