//! Finding out what keeps emails unique.

use super::uniqueness::Uniqueness;
use crate::store::error::StoreError;
use crate::store::lease::Lease;
use crate::store::pool::Store;

impl Store {
    /// Whether the key of older workers is still there.
    pub async fn has_old_email_key(&self) -> Result<bool, StoreError> {
        Ok(self.look_at_uniqueness().await? == Uniqueness::ByBoth)
    }

    /// What emails are unique by, and remembers it.
    pub(in crate::store) async fn look_at_uniqueness(&self) -> Result<Uniqueness, StoreError> {
        let lease = self.lease().await?;
        let unique = look(&lease).await?;
        lease.give_back();
        self.knows(unique);
        Ok(unique)
    }
}

async fn look(lease: &Lease) -> Result<Uniqueness, StoreError> {
    const LOOK: &str =
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('profiles')
                            AND attname = 'email_key' AND NOT attisdropped)";
    let has_old_key = lease.query_one("email key", LOOK, &[]).await?.get(0);
    Ok(if has_old_key {
        Uniqueness::ByBoth
    } else {
        Uniqueness::ByHash
    })
}
