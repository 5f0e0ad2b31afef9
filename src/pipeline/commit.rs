//! Storing a batch, come what may: wait while the database is away, try again after a conflict,
//! halve the batch until what can't be stored stands alone.

use std::ops::Range;

use super::hold::{GaveUp, Hold};
use crate::domain::profile::NewProfile;
use crate::store::error::StoreError;
use crate::store::pool::Store;
use crate::store::profiles::Stored;
use crate::telemetry::labels::ProfileOutcome;
use crate::telemetry::metrics::Metrics;

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
    fn label(&self) -> ProfileOutcome {
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
pub async fn commit(
    store: &Store,
    profiles: &[&NewProfile],
    hold: &mut Hold<'_>,
    metrics: &Metrics,
) -> Result<Vec<Committed>, GaveUp> {
    let mut outcomes = vec![Committed::Stored(Stored::Added); profiles.len()];
    let mut work: Vec<Range<usize>> = Vec::new();
    if !profiles.is_empty() {
        work.push(0..profiles.len());
    }
    while let Some(range) = work.pop() {
        let error = match store.insert(&profiles[range.clone()]).await {
            Ok(stored) => {
                hold.succeeded();
                metrics.batch_profiles.observe(range.len() as f64);
                for (outcome, stored) in outcomes[range].iter_mut().zip(stored) {
                    *outcome = Committed::Stored(stored);
                    metrics.profiles.of(outcome.label()).inc();
                }
                continue;
            }
            Err(error) => error,
        };
        match error {
            StoreError::Refused(_) => hold.refused(&error),
            // Perhaps it is only one of them that waits for somebody's lock: then the database is not away.
            StoreError::Slow(_) if store.probe().await.is_ok() => hold.after_lock(&error).await,
            _ => {
                if hold.after(&error).await.is_err() && store.probe().await.is_err() {
                    return Err(GaveUp);
                }
            }
        }
        match error {
            StoreError::Refused(code) if range.len() == 1 => {
                outcomes[range.start] = Committed::Poison(code);
                metrics.profiles.of(ProfileOutcome::Unstorable).inc();
            }
            StoreError::Refused(_) | StoreError::Slow(_) if range.len() > 1 => work.extend(halves(range)),
            _ => work.push(range),
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
