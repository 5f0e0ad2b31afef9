//! Storing a batch, come what may: wait while the database is away, try again after a conflict,
//! halve the batch until what can't be stored stands alone.

use std::ops::Range;

use super::store_retry::{GaveUp, StoreRetry};
use crate::domain::profile::NewProfile;
use crate::store::error::StoreError;
use crate::store::pool::Store;
use crate::store::profiles::Stored;
use crate::telemetry::labels::ProfileOutcome;
use crate::telemetry::metrics::Metrics;

/// What became of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Committed {
    /// The database has an answer.
    Stored(Stored),
    /// The database refuses this one although it takes its neighbours; with its SQLSTATE.
    Poison(String),
}

impl Committed {
    /// The outcome's name in the metrics.
    fn label(&self) -> ProfileOutcome {
        match self {
            Self::Stored(Stored::Added) => ProfileOutcome::Added,
            Self::Stored(Stored::AddedBefore { .. }) => ProfileOutcome::AddedBefore,
            Self::Stored(Stored::EmailTaken) => ProfileOutcome::EmailTaken,
            Self::Poison(_) => ProfileOutcome::Unstorable,
        }
    }
}

/// Profiles that are stored together.
#[derive(Debug)]
struct Piece {
    range: Range<usize>,
    /// It stands alone, and was denied although the database took another profile after that.
    is_suspect: bool,
}

impl From<Range<usize>> for Piece {
    fn from(range: Range<usize>) -> Self {
        Self {
            range,
            is_suspect: false,
        }
    }
}

/// What a failed attempt says about its profiles.
#[derive(Debug)]
enum Finding {
    /// Nothing: the same again.
    Nothing,
    /// Some of them have to wait, and others need not.
    SomeWait,
    /// At least one of them is refused, with this SQLSTATE.
    Refused(String),
    /// At least one of them is refused, unless a right was missing that is there again.
    Denied(String),
}

/// What is done next with the profiles of a failed attempt.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The same again.
    Again,
    /// Each half by itself, so that the ones that are to blame stand alone in the end.
    Halves,
    /// It stands alone, and is tried once more: the right may be there again.
    AgainAsSuspect,
    /// It is the one to blame, with this SQLSTATE.
    GiveUp(String),
}

impl Finding {
    /// What follows for so many profiles; `is_suspect` as in [`Piece`].
    fn next(self, profiles: usize, is_suspect: bool) -> Next {
        match self {
            Self::Nothing => Next::Again,
            Self::SomeWait | Self::Refused(_) | Self::Denied(_) if profiles > 1 => Next::Halves,
            Self::SomeWait => Next::Again,
            Self::Denied(_) if !is_suspect => Next::AgainAsSuspect,
            Self::Refused(code) | Self::Denied(code) => Next::GiveUp(code),
        }
    }
}

/// Stores all profiles; the result has their order.
///
/// Each attempt carries the same profile ids. So if a connection is lost in the middle of a commit
/// the next attempt finds the rows of the first by their ids, if there are any: the outcome is
/// looked up, not guessed.
///
/// # Errors
///
/// The database is away for too long, or it is its setup that is at fault. What was stored by then
/// a redelivery will find.
pub(super) async fn commit(
    store: &Store,
    profiles: &[&NewProfile],
    retry: &mut StoreRetry<'_>,
    metrics: &Metrics,
) -> Result<Vec<Committed>, GaveUp> {
    let mut outcomes = vec![Committed::Stored(Stored::Added); profiles.len()];
    let mut work: Vec<Piece> = Vec::new();
    if !profiles.is_empty() {
        work.push((0..profiles.len()).into());
    }
    while let Some(Piece { range, is_suspect }) = work.pop() {
        let error = match store.insert(&profiles[range.clone()]).await {
            Ok(stored) => {
                retry.succeeded();
                metrics.batch_profiles.observe(range.len() as f64);
                for (outcome, stored) in outcomes[range].iter_mut().zip(stored) {
                    *outcome = Committed::Stored(stored);
                    metrics.profiles.of(outcome.label()).inc();
                }
                continue;
            }
            Err(error) => error,
        };
        match find_out(error, store, retry)
            .await?
            .next(range.len(), is_suspect)
        {
            Next::Again => work.push(range.into()),
            Next::Halves => work.extend(halves(range).map(Piece::from)),
            Next::AgainAsSuspect => work.push(Piece {
                range,
                is_suspect: true,
            }),
            Next::GiveUp(code) => {
                outcomes[range.start] = Committed::Poison(code);
                metrics.profiles.of(ProfileOutcome::Unstorable).inc();
            }
        }
    }
    Ok(outcomes)
}

/// Finds out whose fault a failure is, and waits if it is one that passes.
async fn find_out(
    error: StoreError,
    store: &Store,
    retry: &mut StoreRetry<'_>,
) -> Result<Finding, GaveUp> {
    let fault = match error {
        StoreError::Refused(code) => return Ok(refused(code, retry, Finding::Refused)),
        // Whether it is only one of them, a profile tells that has nothing of theirs.
        StoreError::Slow(_) | StoreError::Unwell(_) | StoreError::Denied { .. } => {
            match (store.probe().await, error) {
                (Ok(()), StoreError::Denied { code, .. }) => {
                    return Ok(refused(code, retry, Finding::Denied));
                }
                (Ok(()), error) => {
                    retry.after_lock(&error).await;
                    return Ok(Finding::SomeWait);
                }
                (Err(fault), _) => fault,
            }
        }
        StoreError::Unavailable(_) | StoreError::Conflict(_) | StoreError::Setup(_) => error,
    };
    if retry.after(&fault).await.is_err() && store.probe().await.is_err() {
        return Err(GaveUp);
    }
    Ok(Finding::Nothing)
}

fn refused(code: String, retry: &mut StoreRetry<'_>, finding: fn(String) -> Finding) -> Finding {
    retry.refused(&StoreError::Refused(code.clone()));
    finding(code)
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

    #[test]
    fn many_are_halved_until_the_one_to_blame_stands_alone() {
        let refused = || Finding::Refused("22P05".to_owned());
        let denied = || Finding::Denied("42501".to_owned());
        let given_up = |code: &str| Next::GiveUp(code.to_owned());
        for (finding, profiles, is_suspect, expected) in [
            (Finding::Nothing, 1, false, Next::Again),
            (Finding::Nothing, 250, false, Next::Again),
            (Finding::SomeWait, 2, false, Next::Halves),
            (Finding::SomeWait, 1, false, Next::Again),
            (refused(), 2, false, Next::Halves),
            (refused(), 1, false, given_up("22P05")),
            (denied(), 2, true, Next::Halves),
            (denied(), 1, false, Next::AgainAsSuspect),
            (denied(), 1, true, given_up("42501")),
        ] {
            let words = format!("{finding:?} of {profiles}");
            assert_eq!(finding.next(profiles, is_suspect), expected, "{words}");
        }
    }
}
