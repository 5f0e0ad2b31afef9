//! What profiles can subscribe to.

use serde::Serialize;

use super::error::{AccessError, explain};
use crate::domain::channel::Channel;
use crate::store::pool::Store;

/// A row of `resources`.
#[derive(Debug, Serialize)]
pub struct Resource {
    /// The `resource_id` of subscriptions.
    pub id: i64,
    /// Its database.
    pub db_id: i64,
    /// For people.
    pub name: String,
    /// What it offers.
    pub channels: Vec<String>,
}

impl Store {
    /// Makes a resource of a database; returns its id.
    pub async fn create_resource(
        &self,
        db_id: i64,
        channels: &[Channel],
        name: &str,
    ) -> Result<i64, AccessError> {
        let channels: Vec<_> = channels.iter().map(|channel| channel.name()).collect();
        let lease = self.lease().await?;
        let row = lease
            .query_one(
                "access",
                "INSERT INTO resources (db_id, channels, name) VALUES ($1, $2, $3) RETURNING id",
                &[&db_id, &channels, &name],
            )
            .await
            .map_err(|error| explain(error, "resource", Some(db_id)))?;
        lease.give_back();
        Ok(row.get(0))
    }

    /// All resources by database and id.
    pub async fn resources(&self) -> Result<Vec<Resource>, AccessError> {
        let lease = self.lease().await?;
        let rows = lease
            .query(
                "access",
                "SELECT id, db_id, name, channels FROM resources ORDER BY db_id, id",
                &[],
            )
            .await?;
        lease.give_back();
        let resource = |row: &tokio_postgres::Row| Resource {
            id: row.get(0),
            db_id: row.get(1),
            name: row.get(2),
            channels: row.get(3),
        };
        Ok(rows.iter().map(resource).collect())
    }
}
