//! Whether a profile could be stored now.

use super::super::email::uniqueness::Uniqueness;
use super::super::error::StoreError;
use super::super::lease::Lease;
use super::super::pool::Store;
use super::{find, insert, is_fit_after};

/// What storing takes, in one database: a row as large as a few pages of a table, so that a
/// full disk shows.
fn probe_rows(db_id: i64) -> String {
    format!(
        "INSERT INTO profiles (db_id, id, data)
             SELECT {db_id}, substr(md5(random()::text), 1, 24), jsonb_build_object('probe', string_agg(md5(random()::text), ''))
             FROM generate_series(1, 2000);
         INSERT INTO suspects (request_id, begun, begun_at) VALUES (decode(md5(random()::text), 'hex'), 0, now())"
    )
}

/// Databases in which the probe is tried, besides the last one that took a profile. One that none
/// of them takes is not theirs; more of them would only fill the server's log.
const PROBED_MAX: i64 = 8;

/// No tenant has this id, so what an operator has ruled for one does not concern it.
const NOBODYS_DB_ID: i64 = 0;

impl Store {
    /// Whether a profile without any data could be stored now, by the statements that requests are
    /// stored by. Nothing stays of it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Setup`] if no database takes one and no waiting will mend that; it says what
    /// to do. Others as for any statement: waiting may mend it. That a rule for the data is against
    /// an empty profile is no error.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let words = match self.probe_in(self.last_stored_in()).await {
            Err(StoreError::Denied { words, .. }) => words,
            tried => return tried,
        };
        self.check_rights().await?;
        // What is denied for one tenant may be granted for others.
        for db_id in self.some_databases().await? {
            match self.probe_in(db_id).await {
                Err(StoreError::Denied { .. }) => {}
                tried => return tried,
            }
        }
        Err(StoreError::Setup(format!(
            "no profile can be stored, not even an empty one: {words}"
        )))
    }

    async fn some_databases(&self) -> Result<Vec<i64>, StoreError> {
        let lease = self.lease().await?;
        const SOME: &str = "SELECT id FROM databases ORDER BY id LIMIT $1";
        let rows = lease.query("databases", SOME, &[&PROBED_MAX]).await;
        let rows = self.explained(rows).await?;
        lease.give_back();
        Ok(std::iter::once(NOBODYS_DB_ID)
            .chain(rows.iter().map(|row| row.get(0)))
            .collect())
    }

    async fn probe_in(&self, db_id: i64) -> Result<(), StoreError> {
        let unique = self.look_at_uniqueness().await?;
        let lease = self.lease().await?;
        let tried = store_nothing(&lease, unique, db_id).await;
        if is_fit_after(&tried) {
            lease.batch("rollback", "ROLLBACK").await?;
            lease.give_back();
        }
        match tried {
            // Somebody's rule is against it, not the database.
            Err(StoreError::Refused(_)) => Ok(()),
            tried => tried,
        }
    }
}

/// Leaves a transaction that is to be rolled back.
async fn store_nothing(lease: &Lease, unique: Uniqueness, db_id: i64) -> Result<(), StoreError> {
    lease.batch("probe", "BEGIN").await?;
    // Without a single row rights, tables and columns are looked at all the same.
    insert::insert(lease, unique, &[]).await?;
    find::find(lease, unique, &[]).await?;
    lease.batch("probe", &probe_rows(db_id)).await
}
