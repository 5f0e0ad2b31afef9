//! How our sessions are called in `pg_stat_activity`, and who is there by that.

use super::error::StoreError;
use super::migrate;
use super::pool::{Store, within};

/// Their name unless `DATABASE_URL` has an `application_name`.
pub(super) const APPLICATION_NAME: &str = "profile-worker";

/// The name of a session, with the last migration that this program knows: by that a contracting
/// migration sees whether somebody older is still there. PostgreSQL cuts names off at 63 bytes.
pub(super) fn known_as(name: &str) -> String {
    const NAME_BYTES_MAX: usize = 63 - "/99999".len();
    let end = (0..=name.len().min(NAME_BYTES_MAX))
        .rev()
        .find(|end| name.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{}/{}", &name[..end], migrate::needed_version())
}

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
    /// say which one they know ([`known_as`]); older ones have the bare name.
    pub(super) async fn session_before(
        &self,
        migration: i32,
    ) -> Result<Option<String>, StoreError> {
        let lease = self.lease().await?;
        let names = [self.url().application_name(), APPLICATION_NAME];
        let row = within(
            "sessions",
            lease.query_opt(SESSION_BEFORE, &[&&names[..], &migration]),
        )
        .await?;
        lease.give_back();
        Ok(row.map(|row| {
            let (process, name): (i32, &str) = (row.get(0), row.get(1));
            format!("process {process} of PostgreSQL, application_name {name:?}")
        }))
    }
}
