//! Removing what only workers from before the hash need.

use std::time::Duration;

use super::fill::{FillError, Pace};
use super::rule;
use super::uniqueness::Uniqueness;
use crate::store::error::StoreError;
use crate::store::lease::Lease;
use crate::store::pool::Store;
use crate::store::schema::{self, MigrateError};

const CONTRACT: &str = include_str!("../../../migrations/contract/0004_hash_emails.sql");

/// The migration whose `contract` this is. An older worker does not know the hash.
const MIGRATION: i32 = 4;

/// How often the table is asked for. Each time waits for two seconds at most, and holds up others
/// for as long.
const TRIES_MAX: u32 = 10;

/// Between two tries: those who were held up come first.
const PAUSE: Duration = Duration::from_secs(1);

/// Why the old key could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// The database did not do as it was told.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The schema is not there yet, or its hashes are of another rule.
    #[error(transparent)]
    Schema(#[from] MigrateError),
    /// The last profiles could not be filled in.
    #[error(transparent)]
    Fill(#[from] FillError),
    /// It would not find its column any more.
    #[error(
        "an older worker is connected to this database ({0}); replace all workers by this version first, as an \
         older one can store nothing afterwards. If that session is none, of a pooler perhaps: --force"
    )]
    OlderWorker(String),
    /// They would lose what keeps their emails unique.
    #[error("{0} profiles have no email_hash yet: run `profile-worker email fill`")]
    Unfilled(i64),
}

impl Store {
    /// Removes the key of older workers, and makes the hash a must for each profile with an email.
    /// Returns whether there was anything to do. With `force` sessions of older workers are no
    /// obstacle.
    ///
    /// # Errors
    ///
    /// See [`ContractError`]. Either nothing was removed, or all of it was and the last check is
    /// open: to run it again does that.
    pub async fn contract_emails(&self, force: bool) -> Result<bool, ContractError> {
        schema::check(self).await?;
        rule::check(self).await?;
        let unique = self.look_at_uniqueness().await?;
        if unique == Uniqueness::ByHash && self.is_validated().await? {
            return Ok(false);
        }
        if unique == Uniqueness::ByBoth {
            if !force && let Some(who) = self.session_before(MIGRATION).await? {
                return Err(ContractError::OlderWorker(who));
            }
            match self.count_unfilled().await? {
                0 => {}
                unfilled => return Err(ContractError::Unfilled(unfilled)),
            }
            self.remove_old_key().await?;
        }
        // Whoever stored something between the count and the removal.
        if self.count_unfilled().await? > 0 {
            self.fill_emails(Pace::Full, |_| {}).await?;
        }
        self.validate().await?;
        Ok(true)
    }

    async fn remove_old_key(&self) -> Result<(), StoreError> {
        let mut tries = 1;
        loop {
            let lease = self.lease().await?;
            match contract(&lease).await {
                Err(StoreError::Slow(_)) if tries < TRIES_MAX => tries += 1,
                Err(StoreError::Slow(words)) => {
                    return Err(StoreError::Slow(format!(
                        "{words}: somebody uses the table profiles all the time, a backup perhaps; try again later"
                    )));
                }
                done => return done,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn is_validated(&self) -> Result<bool, StoreError> {
        let lease = self.lease().await?;
        let look = "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'profiles'::regclass
                    AND conname = 'profiles_email_hashed' AND convalidated)";
        let row = lease.query_one("constraint", look, &[]).await?;
        lease.give_back();
        Ok(row.get(0))
    }

    /// Reads the whole table, and holds up nobody.
    async fn validate(&self) -> Result<(), StoreError> {
        let lease = self.lease().await?;
        let validate = "ALTER TABLE profiles VALIDATE CONSTRAINT profiles_email_hashed";
        lease.batch_at_length("validate", validate).await
    }
}

/// Contracts the schema, in one transaction.
async fn contract(lease: &Lease) -> Result<(), StoreError> {
    lease
        .batch("contract", &format!("BEGIN; {CONTRACT}; COMMIT"))
        .await
}

/// Contracts a schema that was just made, before anybody uses it.
pub(in crate::store) async fn contract_new(lease: &Lease) -> Result<(), StoreError> {
    contract(lease).await?;
    lease
        .batch(
            "contract",
            "ALTER TABLE profiles VALIDATE CONSTRAINT profiles_email_hashed",
        )
        .await
}
