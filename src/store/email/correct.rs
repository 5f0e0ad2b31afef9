//! What an operator does about single emails: profiles that conflict, and changes by hand.

use serde::Serialize;

use super::hash::Hash;
use crate::domain::email::{Email, EmailKey};
use crate::store::error::StoreError;
use crate::store::lease::Lease;
use crate::store::pool::Store;

/// A profile that can't have the hash of its email.
#[derive(Debug, Serialize)]
pub struct Conflict {
    /// Its database.
    pub db_id: i64,
    /// The profile.
    pub profile_id: String,
    /// Its email.
    pub email: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// The profile that has the hash, where that is the reason.
    pub other_profile_id: Option<String>,
    /// The other's email.
    pub other_email: Option<String>,
}

/// Why an email was not changed.
#[derive(Debug, thiserror::Error)]
pub enum CorrectError {
    /// The database did not do as it was told.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another profile has it.
    #[error("another profile of database {0} has this email")]
    Taken(i64),
    /// There is no such profile.
    #[error("database {0} has no profile {1}")]
    NoProfile(i64, String),
}

/// Those that were deleted, or changed by `email set`, are none any more.
const CONFLICTS: &str = "
SELECT c.db_id, c.profile_id, p.email, c.reason, c.other_id, o.email
FROM email_conflicts c
JOIN profiles p ON p.db_id = c.db_id AND p.id = c.profile_id
LEFT JOIN profiles o ON o.db_id = c.db_id AND o.id = c.other_id
ORDER BY c.db_id, c.profile_id";

/// Only while it has a hash of its own: whoever changed it by hand has given it the right one.
const RESOLVE: &str = "
UPDATE profiles SET email_hash = $4 WHERE db_id = $1 AND id = $2 AND email = $3 AND email_hash = $5";

const FORGET: &str = "DELETE FROM email_conflicts WHERE db_id = $1 AND profile_id = $2";

const SET: &str = "UPDATE profiles SET email = $3, email_hash = $4 WHERE db_id = $1 AND id = $2";

impl Store {
    /// The profiles that can't have the hash of their email.
    pub async fn email_conflicts(&self) -> Result<Vec<Conflict>, StoreError> {
        let lease = self.lease().await?;
        let conflicts = conflicts(&lease).await?;
        lease.give_back();
        Ok(conflicts)
    }

    /// Gives a profile another email, or none.
    pub async fn set_email(
        &self,
        db_id: i64,
        id: &str,
        email: Option<&Email>,
    ) -> Result<(), CorrectError> {
        let lease = self.lease().await?;
        let address = email.map(Email::address);
        let hash = email.map(|email| Hash(email.key()));
        let set = lease
            .execute("set", SET, &[&db_id, &id, &address, &hash])
            .await;
        match set {
            Ok(0) => return Err(CorrectError::NoProfile(db_id, id.to_owned())),
            Err(error) if error.is_unique_violation() => return Err(CorrectError::Taken(db_id)),
            set => set?,
        };
        lease.execute("forget", FORGET, &[&db_id, &id]).await?;
        lease.give_back();
        Ok(())
    }
}

async fn conflicts(lease: &Lease) -> Result<Vec<Conflict>, StoreError> {
    let conflict = |row: &tokio_postgres::Row| Conflict {
        db_id: row.get(0),
        profile_id: row.get(1),
        email: row.get(2),
        reason: row.get(3),
        other_profile_id: row.get(4),
        other_email: row.get(5),
    };
    let rows = lease.query("conflicts", CONFLICTS, &[]).await?;
    Ok(rows.iter().map(conflict).collect())
}

/// Gives conflicts the hash of their email where that has become free, and forgets those whose
/// profile is gone. Returns how many got it.
pub(super) async fn retry_conflicts(lease: &Lease) -> Result<u64, StoreError> {
    let mut resolved = 0;
    for conflict in conflicts(lease).await? {
        let Some(email) = conflict.email.as_deref() else {
            continue;
        };
        let Ok(parsed) = Email::parse(email) else {
            continue;
        };
        let (hash, own) = (
            Hash(parsed.key()),
            Hash(EmailKey::of_profile(&conflict.profile_id)),
        );
        let (db_id, id) = (&conflict.db_id, &conflict.profile_id);
        match lease
            .execute("resolve", RESOLVE, &[db_id, id, &email, &hash, &own])
            .await
        {
            Ok(changed) => {
                resolved += changed;
                lease.execute("forget", FORGET, &[db_id, id]).await?;
            }
            Err(error) if error.is_unique_violation() => {}
            Err(error) => return Err(error),
        }
    }
    let gone = "DELETE FROM email_conflicts c WHERE NOT EXISTS (
                        SELECT FROM profiles p WHERE p.db_id = c.db_id AND p.id = c.profile_id)";
    lease.execute("forget", gone, &[]).await?;
    Ok(resolved)
}
