//! Whose sessions are in the database.

use super::error::StoreError;
use super::pool::Store;
use super::session_name::APPLICATION_NAME;

/// Everybody may see the names of all sessions.
const SESSION_BEFORE: &str = "
SELECT pid, application_name
FROM pg_stat_activity, substring(application_name FROM '^(.*)/[0-9]+$') AS base,
     substring(application_name FROM '/([0-9]{1,9})$') AS migration
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND (application_name = ANY($1) OR base = ANY($1) AND migration::int < $2)
ORDER BY pid LIMIT 1";

impl Store {
    /// A session of a worker or command that does not know this migration, in words. Those of ours
    /// say which one they know ([`super::session_name`]); older ones have the bare name.
    pub(super) async fn session_before(
        &self,
        migration: i32,
    ) -> Result<Option<String>, StoreError> {
        let lease = self.lease().await?;
        let names = [self.url().application_name(), APPLICATION_NAME];
        let row = lease
            .query_opt("sessions", SESSION_BEFORE, &[&&names[..], &migration])
            .await?;
        lease.give_back();
        Ok(row.map(|row| {
            let (process, name): (i32, &str) = (row.get(0), row.get(1));
            format!("process {process} of PostgreSQL, application_name {name:?}")
        }))
    }
}
