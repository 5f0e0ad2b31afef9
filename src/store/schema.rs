//! Whether the schema is one that this program can work with.

use super::error::StoreError;
use super::migrations;
use super::pool::Store;

/// Why the schema can't be brought up to date, or used as it is.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database did not do as it was told.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file was changed after it had been run.
    #[error(
        "migration {0} was changed after it had been run here: restore the file, and put the change into a new one"
    )]
    Changed(i32),
    /// The SQL failed; nothing of it took effect.
    #[error("migration {number} ({name}) failed: {text}")]
    Failed {
        /// Of the file.
        number: i32,
        /// Of the file.
        name: &'static str,
        /// The server's words.
        text: String,
    },
    /// Texts would not be stored as they are.
    #[error("the database has the encoding {0}; create one with ENCODING 'UTF8'")]
    Encoding(String),
    /// The schema lacks something that this program uses.
    #[error(
        "the schema is at version {found}, this program needs {needed}: run `profile-worker migrate`"
    )]
    Outdated {
        /// In the database.
        found: i32,
        /// By this program.
        needed: i32,
    },
    /// Hashes of emails were made by another rule than that of this program.
    #[error(
        "the emails in this database are told apart by another rule (Unicode {theirs}) than that of this version \
         (Unicode {ours}): stop all workers, run `profile-worker email fill`, and start them again"
    )]
    EmailRule {
        /// The version of Unicode that is written down.
        theirs: String,
        /// That of this program.
        ours: &'static str,
    },
    /// Somebody has emptied the table.
    #[error(
        "the table email_rule is empty: restore its row from where the profiles came from, or run \
         `profile-worker migrate` if this version has made all their hashes"
    )]
    NoEmailRule,
}

/// The schema version that this program needs.
pub fn needed_version() -> i32 {
    migrations::last_number()
}

/// Checks that the schema has what this program needs. A newer one is fine: see
/// `migrations/README.md`.
pub async fn check(store: &Store) -> Result<(), MigrateError> {
    let found = match version(store).await {
        Err(error) if error.is_undefined_table() => {
            // There is none, or it is out of our sight.
            store.check_rights_to_see().await?;
            0
        }
        found => store.explained(found).await?,
    };
    let needed = needed_version();
    if found < needed {
        Err(MigrateError::Outdated { found, needed })
    } else {
        Ok(())
    }
}

/// The number of the last migration that was run.
async fn version(store: &Store) -> Result<i32, StoreError> {
    let lease = store.lease().await?;
    const LAST: &str = "SELECT coalesce(max(number), 0) FROM schema_migrations";
    let row = lease.query_one("schema version", LAST, &[]).await?;
    lease.give_back();
    Ok(row.get(0))
}
