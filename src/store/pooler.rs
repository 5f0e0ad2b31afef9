//! A connection pooler between us and PostgreSQL, such as PgBouncer: whether a session stays ours.
//!
//! In transaction mode a pooler lends a session of PostgreSQL to one client for a transaction, then
//! to another. A pooler that knows nothing of prepared statements runs whatever the session has
//! under the name: nothing, or a statement of another worker. That must not be found out by storing
//! profiles.

use super::error::StoreError;
use super::pool::Store;

/// A pooler that nobody else uses shows in the first round; other clients may mix up its sessions.
const ROUNDS: u32 = 5;

/// Fails if prepared statements get lost on the way to PostgreSQL; says so if sessions do and
/// statements do not.
pub(crate) async fn check(store: &Store) -> Result<(), StoreError> {
    let (one, other) = (store.lease().await?, store.lease().await?);
    // Another worker has a statement of the same name, but not with this number.
    let marker = marker()?;
    let statement = one
        .prepare_anew(&format!("SELECT pg_backend_pid(), {marker}::bigint"))
        .await?;
    let session = async || {
        let row = one.query_one("session", &statement, &[]).await?;
        match (row.try_get::<_, i32>(0), row.try_get::<_, i64>(1)) {
            (Ok(session), Ok(number)) if number == marker => Ok(session),
            _ => Err(StoreError::statements_get_lost()),
        }
    };
    let mut changed = false;
    for _ in 0..ROUNDS {
        let before = session().await?;
        // A pooler gives this transaction the session that was free last, and keeps it for it.
        other.batch("begin", "BEGIN").await?;
        changed |= session().await? != before;
        other.batch("rollback", "ROLLBACK").await?;
    }
    drop(statement);
    one.give_back();
    other.give_back();
    if changed {
        tracing::warn!(
            "a pooler lends us a session of PostgreSQL for each transaction: time limits and LISTEN get lost, so give \
             the database user its settings by ALTER ROLE; changes of the directory are noticed after two seconds"
        );
    }
    Ok(())
}

/// Not negative, so that it can stand in SQL as it is.
fn marker() -> Result<i64, StoreError> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(i64::from(u32::from_ne_bytes(bytes)))
}
