//! Upkeep of databases, resources and tokens, for the operator's commands.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;

use super::error::StoreError;
use super::pool::Store;
use super::time::{system_time, timestamp};
use crate::domain::channel::Channel;
use crate::domain::custom_field::FieldType;
use crate::domain::token::{Scope, TokenHash};

/// Why an operator's wish was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The database did not do as it was told.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Names are unique, so that people can tell things apart.
    #[error("there is a {0} of this name already")]
    NameTaken(&'static str),
    /// What the wish refers to does not exist.
    #[error("{0} {1} does not exist")]
    NotFound(&'static str, i64),
    /// There is no such definition.
    #[error("database {0} has no field {1:?}")]
    NoField(i64, String),
}

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

/// A row of `api_tokens`; the token itself is known to nobody here.
#[derive(Debug, Serialize)]
pub struct TokenEntry {
    /// For `token revoke`.
    pub id: i64,
    /// For people.
    pub name: String,
    /// Whether it opens every database.
    pub all_databases: bool,
    /// The databases that it opens otherwise.
    pub databases: Vec<i64>,
    /// When it stops by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
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
            .map_err(|error| explain(error, "database", 0))?;
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
            .map_err(|error| explain(error, "field", db_id))?;
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
            .map_err(|error| explain(error, "resource", db_id))?;
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

    /// Keeps a new token's hash and scope; returns its id.
    pub async fn create_token(
        &self,
        hash: TokenHash,
        scope: &Scope,
        expires_at: Option<Timestamp>,
        name: &str,
    ) -> Result<i64, AccessError> {
        let (all_databases, ids): (bool, &[i64]) = match scope {
            Scope::AllDatabases => (true, &[]),
            Scope::Databases(ids) => (false, ids),
        };
        let expires_at = expires_at.map(system_time);
        let lease = self.lease().await?;
        let known: Vec<i64> = lease
            .query(
                "access",
                "SELECT id FROM databases WHERE id = ANY($1)",
                &[&ids],
            )
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect();
        if let Some(unknown) = ids.iter().find(|id| !known.contains(id)) {
            return Err(AccessError::NotFound("database", *unknown));
        }
        let row = lease
            .query_one(
                "access",
                "WITH token AS (
                     INSERT INTO api_tokens (name, token_hash, all_databases, expires_at)
                     VALUES ($1, $2, $3, $4) RETURNING id
                 ), scope AS (
                     INSERT INTO api_token_databases (token_id, db_id)
                     SELECT token.id, db_id FROM token, unnest($5::bigint[]) AS db_id
                 )
                 SELECT id FROM token",
                &[&name, &&hash.0[..], &all_databases, &expires_at, &ids],
            )
            .await
            .map_err(|error| explain(error, "token", 0))?;
        lease.give_back();
        Ok(row.get(0))
    }

    /// All tokens by id, the revoked and expired ones included.
    pub async fn tokens(&self) -> Result<Vec<TokenEntry>, AccessError> {
        let lease = self.lease().await?;
        let rows = lease
            .query(
                "access",
                "SELECT id, name, all_databases,
                        ARRAY(SELECT db_id FROM api_token_databases WHERE token_id = id ORDER BY db_id),
                        expires_at, revoked_at
                 FROM api_tokens ORDER BY id",
                &[],
            )
            .await?;
        lease.give_back();
        let token = |row: &tokio_postgres::Row| TokenEntry {
            id: row.get(0),
            name: row.get(1),
            all_databases: row.get(2),
            databases: row.get(3),
            expires_at: row.get::<_, Option<SystemTime>>(4).and_then(timestamp),
            revoked_at: row.get::<_, Option<SystemTime>>(5).and_then(timestamp),
        };
        Ok(rows.iter().map(token).collect())
    }

    /// Takes a token back. Doing it twice is no error, and keeps the time of the first.
    pub async fn revoke_token(&self, id: i64) -> Result<(), AccessError> {
        let lease = self.lease().await?;
        let changed = lease
            .execute(
                "access",
                "UPDATE api_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1",
                &[&id],
            )
            .await?;
        lease.give_back();
        if changed == 0 {
            Err(AccessError::NotFound("token", id))
        } else {
            Ok(())
        }
    }
}

fn explain(error: StoreError, what: &'static str, db_id: i64) -> AccessError {
    if error.is_unique_violation() {
        AccessError::NameTaken(what)
    } else if error.is_foreign_key_violation() {
        AccessError::NotFound("database", db_id)
    } else {
        AccessError::Store(error)
    }
}
