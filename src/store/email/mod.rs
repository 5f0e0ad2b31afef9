//! What keeps emails unique: the rule that hashes are made by, and the way to it for profiles from
//! before it (expand, fill, contract).

pub(super) mod contract;
mod correct;
mod fill;

use std::error::Error;

use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

pub use self::contract::ContractError;
pub use self::correct::{Conflict, CorrectError};
pub use self::fill::{FillError, Filled, Pace};
use super::error::StoreError;
use super::migrate::MigrateError;
use super::pool::{Lease, Store, within};
use crate::domain::email::{EmailKey, Rule};

/// What an email is unique by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Uniqueness {
    /// By the hash, and by the key of older workers, which the database makes by its locale. It
    /// stays until `email contract`.
    ByBoth,
    /// By the hash alone.
    ByHash,
}

impl Uniqueness {
    async fn look(lease: &Lease) -> Result<Self, StoreError> {
        const LOOK: &str =
            "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('profiles')
                            AND attname = 'email_key' AND NOT attisdropped)";
        let has_old_key = within("email key", lease.query_one(LOOK, &[]))
            .await?
            .get(0);
        Ok(if has_old_key {
            Self::ByBoth
        } else {
            Self::ByHash
        })
    }
}

impl Store {
    /// Whether the key of older workers is still there.
    pub async fn has_old_email_key(&self) -> Result<bool, StoreError> {
        Ok(self.look_at_uniqueness().await? == Uniqueness::ByBoth)
    }

    /// What emails are unique by, and remembers it.
    pub(super) async fn look_at_uniqueness(&self) -> Result<Uniqueness, StoreError> {
        let lease = self.lease().await?;
        let unique = Uniqueness::look(&lease).await?;
        lease.give_back();
        self.knows(unique);
        Ok(unique)
    }
}

/// A hash as a parameter. The type `uuid` is 16 bytes as they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hash(pub(super) EmailKey);

impl ToSql for Hash {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }

    to_sql_checked!();
}

/// The same where nothing is written down, as in a new schema.
pub(super) async fn write_rule_if_none(lease: &Lease) -> Result<(), StoreError> {
    let row = within(
        "email rule",
        lease.query_opt("SELECT 1 FROM email_rule", &[]),
    )
    .await?;
    if row.is_none() {
        write_rule(lease).await
    } else {
        Ok(())
    }
}

/// Writes down that hashes are made by the rule of this program.
pub(super) async fn write_rule(lease: &Lease) -> Result<(), StoreError> {
    const WRITE: &str = "INSERT INTO email_rule (unicode, checksum) VALUES ($1, $2)
                         ON CONFLICT (only_row) DO UPDATE SET unicode = excluded.unicode, checksum = excluded.checksum";
    let rule = Rule::of_this_program();
    within(
        "email rule",
        lease.execute(WRITE, &[&rule.unicode, &&rule.checksum[..]]),
    )
    .await?;
    Ok(())
}

/// Checks that this program makes hashes as those in the database were made.
pub(crate) async fn check_rule(store: &Store) -> Result<(), MigrateError> {
    let lease = store.lease().await?;
    let look = within(
        "email rule",
        lease.query_opt("SELECT unicode, checksum FROM email_rule", &[]),
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
