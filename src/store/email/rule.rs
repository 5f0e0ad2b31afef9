//! The rule that hashes of emails are made by, as the database remembers it.

use crate::domain::email::Rule;
use crate::store::error::StoreError;
use crate::store::lease::Lease;
use crate::store::pool::Store;
use crate::store::schema::MigrateError;

/// Writes it down where nothing is, as in a new schema.
pub(in crate::store) async fn write_if_none(lease: &Lease) -> Result<(), StoreError> {
    let row = lease
        .query_opt("email rule", "SELECT 1 FROM email_rule", &[])
        .await?;
    if row.is_none() {
        write(lease).await
    } else {
        Ok(())
    }
}

/// Writes down that hashes are made by the rule of this program.
pub(super) async fn write(lease: &Lease) -> Result<(), StoreError> {
    const WRITE: &str = "INSERT INTO email_rule (unicode, checksum) VALUES ($1, $2)
                         ON CONFLICT (only_row) DO UPDATE SET unicode = excluded.unicode, checksum = excluded.checksum";
    let rule = Rule::of_this_program();
    lease
        .execute("email rule", WRITE, &[&rule.unicode, &&rule.checksum[..]])
        .await?;
    Ok(())
}

/// Checks that this program makes hashes as those in the database were made.
pub(crate) async fn check(store: &Store) -> Result<(), MigrateError> {
    let lease = store.lease().await?;
    let look = lease
        .query_opt(
            "email rule",
            "SELECT unicode, checksum FROM email_rule",
            &[],
        )
        .await;
    let row = store.explained(look).await?;
    lease.give_back();
    let rule = Rule::of_this_program();
    match row {
        Some(row) if row.get::<_, &[u8]>(1) == rule.checksum => Ok(()),
        Some(row) => Err(MigrateError::EmailRule {
            theirs: row.get(0),
            ours: rule.unicode,
        }),
        None => Err(MigrateError::NoEmailRule),
    }
}
