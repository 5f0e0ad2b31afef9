//! The databases of tenants.

use jiff::Timestamp;
use serde::Serialize;

use super::error::{AccessError, explain};
use crate::store::pool::Store;
use crate::store::time::timestamp;

/// A row of `databases`.
#[derive(Debug, Serialize)]
pub struct Database {
    /// The `db_id` of requests.
    pub id: i64,
    /// For people.
    pub name: String,
    /// It takes no custom fields but those that are defined.
    pub strict: bool,
    /// RFC 3339.
    pub created_at: Option<Timestamp>,
}

impl Store {
    /// Makes a database; returns its id. A strict one takes no custom fields but those that are
    /// defined.
    pub async fn create_database(&self, name: &str, strict: bool) -> Result<i64, AccessError> {
        let lease = self.lease().await?;
        let row = lease
            .query_one(
                "access",
                "INSERT INTO databases (name, strict) VALUES ($1, $2) RETURNING id",
                &[&name, &strict],
            )
            .await
            .map_err(|error| explain(error, "database", None))?;
        lease.give_back();
        Ok(row.get(0))
    }

    /// All databases by id.
    pub async fn databases(&self) -> Result<Vec<Database>, AccessError> {
        let lease = self.lease().await?;
        let rows = lease
            .query(
                "access",
                "SELECT id, name, strict, created_at FROM databases ORDER BY id",
                &[],
            )
            .await?;
        lease.give_back();
        let database = |row: &tokio_postgres::Row| Database {
            id: row.get(0),
            name: row.get(1),
            strict: row.get(2),
            created_at: timestamp(row.get(3)),
        };
        Ok(rows.iter().map(database).collect())
    }

    /// Makes a database strict, or lets it take any custom field.
    pub async fn set_strict(&self, db_id: i64, strict: bool) -> Result<(), AccessError> {
        let lease = self.lease().await?;
        let changed = lease
            .execute(
                "access",
                "UPDATE databases SET strict = $2 WHERE id = $1",
                &[&db_id, &strict],
            )
            .await?;
        lease.give_back();
        if changed == 0 {
            Err(AccessError::NotFound("database", db_id))
        } else {
            Ok(())
        }
    }
}
