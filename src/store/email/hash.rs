//! The hash of an email as a parameter of statements.

use std::error::Error;

use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::domain::email::EmailKey;

/// A hash as a parameter. The type `uuid` is 16 bytes as they are.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Hash(pub(in crate::store) EmailKey);

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
