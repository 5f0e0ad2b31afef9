//! Reading the directory from the database.

use std::sync::Arc;

use futures_util::TryStreamExt;

use super::entry::Entry;
use crate::domain::directory::Directory;
use crate::store::error::StoreError;
use crate::store::lease::Lease;
use crate::store::limits::within;
use crate::store::pool::Store;

/// Loads the directory, if it is not of this version.
pub(super) async fn load_if_newer(
    store: &Store,
    known: i64,
) -> Result<Option<Arc<Directory>>, StoreError> {
    let lease = store.lease().await?;
    if version(&lease).await? == known {
        lease.give_back();
        return Ok(None);
    }
    let newer = load(&lease).await?;
    lease.give_back();
    // To contract the schema raises the version, too.
    store.look_at_uniqueness().await?;
    Ok(Some(Arc::new(newer)))
}

/// Loads the directory.
pub(super) async fn load_all(store: &Store) -> Result<Arc<Directory>, StoreError> {
    let lease = store.lease().await?;
    let directory = load(&lease).await?;
    lease.give_back();
    Ok(Arc::new(directory))
}

async fn version(lease: &Lease) -> Result<i64, StoreError> {
    let statement = lease
        .prepare("SELECT version FROM directory_version")
        .await?;
    Ok(lease
        .query_one("directory version", &statement, &[])
        .await?
        .get(0))
}

/// The rows that [`Entry::of`] reads, by one statement, so that all of it is true at one moment.
const LOAD: &str = "
SELECT 'version', version, NULL::bigint, NULL::bytea, NULL::boolean, NULL::bigint[], NULL::timestamptz, NULL::boolean, NULL::text[],
       NULL::text, NULL::text
FROM directory_version
UNION ALL
SELECT 'database', id, NULL, NULL, NULL, NULL, NULL, strict, NULL, NULL, NULL FROM databases
UNION ALL
SELECT 'field', db_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, name, type FROM fields
UNION ALL
SELECT 'resource', id, db_id, NULL, NULL, NULL, NULL, NULL, channels, NULL, NULL FROM resources
UNION ALL
SELECT 'token', id, NULL, token_hash, all_databases,
       ARRAY(SELECT d.db_id FROM api_token_databases d WHERE d.token_id = id ORDER BY d.db_id),
       expires_at, revoked_at IS NOT NULL, NULL, NULL, NULL
FROM api_tokens";

async fn load(lease: &Lease) -> Result<Directory, StoreError> {
    let statement = lease.prepare(LOAD).await?;
    // Row by row: all of them at once would be several times what is kept of them.
    let rows = lease
        .rows("directory", &statement, std::iter::empty::<i64>())
        .await?;
    let mut rows = std::pin::pin!(rows);
    let mut directory = Directory::default();
    while let Some(row) = within("directory", rows.try_next()).await? {
        Entry::of(&row).add_to(&mut directory);
    }
    Ok(directory)
}
