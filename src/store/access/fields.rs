//! Custom fields that an operator has defined.

use serde::Serialize;

use super::error::{AccessError, explain};
use crate::domain::custom_field::FieldType;
use crate::store::pool::Store;

/// A row of `fields`.
#[derive(Debug, Serialize)]
pub struct DefinedField {
    /// Its database.
    pub db_id: i64,
    /// In requests.
    pub name: String,
    /// The name of a [`FieldType`].
    #[serde(rename = "type")]
    pub field_type: String,
}

impl Store {
    /// Defines a custom field, or changes its type.
    pub async fn define_field(
        &self,
        db_id: i64,
        name: &str,
        field_type: FieldType,
    ) -> Result<(), AccessError> {
        let lease = self.lease().await?;
        lease
            .execute(
                "access",
                "INSERT INTO fields (db_id, name, type) VALUES ($1, $2, $3)
                 ON CONFLICT (db_id, name) DO UPDATE SET type = excluded.type",
                &[&db_id, &name, &field_type.name()],
            )
            .await
            .map_err(|error| explain(error, "field", Some(db_id)))?;
        lease.give_back();
        Ok(())
    }

    /// All definitions by database and name.
    pub async fn fields(&self) -> Result<Vec<DefinedField>, AccessError> {
        let lease = self.lease().await?;
        let rows = lease
            .query(
                "access",
                "SELECT db_id, name, type FROM fields ORDER BY db_id, name",
                &[],
            )
            .await?;
        lease.give_back();
        let field = |row: &tokio_postgres::Row| DefinedField {
            db_id: row.get(0),
            name: row.get(1),
            field_type: row.get(2),
        };
        Ok(rows.iter().map(field).collect())
    }

    /// Removes a definition.
    pub async fn remove_field(&self, db_id: i64, name: &str) -> Result<(), AccessError> {
        let lease = self.lease().await?;
        let removed = lease
            .execute(
                "access",
                "DELETE FROM fields WHERE db_id = $1 AND name = $2",
                &[&db_id, &name],
            )
            .await?;
        lease.give_back();
        if removed == 0 {
            Err(AccessError::NoField(db_id, name.to_owned()))
        } else {
            Ok(())
        }
    }
}
