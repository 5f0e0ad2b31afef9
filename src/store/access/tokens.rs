//! The tokens of producers.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;

use super::error::{AccessError, explain};
use crate::domain::token::{Scope, TokenHash};
use crate::store::pool::Store;
use crate::store::time::{system_time, timestamp};

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
            .map_err(|error| explain(error, "token", None))?;
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
