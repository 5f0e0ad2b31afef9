//! A connection pooler between us and PostgreSQL, such as PgBouncer: whether a session stays ours.
//!
//! In transaction mode a pooler lends a session of PostgreSQL to one client for a transaction, then to
//! another. A pooler that knows nothing of prepared statements runs whatever the session has under the name: nothing,
//! or a statement of another worker. That must not be found out by storing profiles.

use super::error::StoreError;
use super::pool::{Store, within};

const SESSION: &str = "SELECT pg_backend_pid()";

/// Fails if prepared statements get lost on the way to PostgreSQL; says so if sessions do and statements do not.
pub async fn check(store: &Store) -> Result<(), StoreError> {
    let one = store.lease().await?;
    let statement = within("prepare", one.prepare(SESSION)).await?;
    let before: i32 = within("session", one.query_one(&statement, &[])).await?.get(0);
    // A pooler gives this transaction the session that was free last, and keeps it for it.
    let other = store.lease().await?;
    within("begin", other.batch_execute("BEGIN")).await?;
    let after: i32 = within("session", one.query_one(&statement, &[])).await?.get(0);
    within("rollback", other.batch_execute("ROLLBACK")).await?;
    one.give_back();
    other.give_back();
    if before != after {
        tracing::warn!(
            "a pooler lends us a session of PostgreSQL for each transaction: time limits and LISTEN get lost, so give \
             the database user its settings by ALTER ROLE; changes of the directory are noticed after two seconds"
        );
    }
    Ok(())
}
