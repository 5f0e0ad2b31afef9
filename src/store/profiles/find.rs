//! What stands where a profile could not be added.

use tokio_postgres::types::ToSql;

use super::super::email::uniqueness::Uniqueness;
use super::super::error::StoreError;
use super::super::lease::Lease;
use super::super::time::timestamp;
use super::Stored;
use super::columns::{ProfileColumns, index, texts};
use crate::domain::identity::ProfileId;
use crate::domain::profile::NewProfile;

/// What stands where a profile could not be added: the row with its email; without an email the
/// row of its request; the row with its id, which only its own earlier attempt can have made.
///
/// `OFFSET 0` keeps each branch a lookup per profile; that it is one in an index, the settings of
/// the session see to (`store::pool`).
///
/// `replicated` is for synchronous replication. A row may be seen that no standby has: a primary
/// that is killed while a commit waits for its standby shows the row when it is back. To say
/// "added" of it would be wrong if the standby were promoted then. So this statement writes, too,
/// though nothing that stays: then its own commit waits until the standby has all that came before.
macro_rules! find {
    ($more:expr) => {
        concat!(
            "
WITH replicated AS MATERIALIZED (
    SELECT CASE WHEN current_setting('synchronous_standby_names') <> ''
                THEN pg_logical_emit_message(true, 'profile-worker', '') END
)
SELECT wanted.ordinal, found.id, found.request_id, found.created_at
FROM replicated CROSS JOIN unnest($1::bigint[], $2::text[], $3::text[], $4::uuid[], $5::bytea[])
    WITH ORDINALITY AS wanted (db_id, id, email, email_hash, request_id, ordinal)
CROSS JOIN LATERAL (
    SELECT p.id, p.request_id, p.created_at FROM profiles p
    WHERE p.db_id = wanted.db_id AND p.email_hash = wanted.email_hash
    UNION ALL
    SELECT p.id, p.request_id, p.created_at FROM profiles p
    WHERE p.db_id = wanted.db_id AND p.request_id = wanted.request_id AND p.email IS NULL AND wanted.email IS NULL
    UNION ALL
    SELECT p.id, p.request_id, p.created_at FROM profiles p
    WHERE p.db_id = wanted.db_id AND p.id = wanted.id",
            $more,
            "
    OFFSET 0
) AS found"
        )
    };
}

const FIND: &str = find!("");

/// With the key of older workers, as the database makes it.
const FIND_BY_BOTH: &str = find!(
    "
    UNION ALL
    SELECT p.id, p.request_id, p.created_at FROM profiles p
    WHERE p.db_id = wanted.db_id AND p.email_key = lower(btrim(wanted.email))"
);

pub(super) async fn find(
    lease: &Lease,
    unique: Uniqueness,
    profiles: &[&NewProfile],
) -> Result<Vec<Option<Stored>>, StoreError> {
    let columns = ProfileColumns::of(profiles.iter().copied());
    let text = match unique {
        Uniqueness::ByHash => FIND,
        Uniqueness::ByBoth => FIND_BY_BOTH,
    };
    let statement = lease.prepare(text).await?;
    let parameters: [&(dyn ToSql + Sync); 5] = [
        &columns.db_id,
        &texts(&columns.id),
        &columns.email,
        &columns.email_hash,
        &columns.request_id,
    ];
    let rows = lease.query("find", &statement, &parameters).await?;
    let mut found = vec![None; profiles.len()];
    for row in &rows {
        let index = index(row);
        let there = judge(profiles[index], row);
        // The row with our own id proves more than any other.
        if found[index].is_none() || there == Stored::Added {
            found[index] = Some(there);
        }
    }
    Ok(found)
}

fn judge(profile: &NewProfile, row: &tokio_postgres::Row) -> Stored {
    let id = ProfileId::parse(row.get(1));
    let request_id: Option<&[u8]> = row.get(2);
    let same_request = profile
        .request_id
        .is_some_and(|own| request_id == Some(&own.0[..]));
    match (id, timestamp(row.get(3))) {
        (Some(id), _) if id == profile.id => Stored::Added,
        (Some(id), Some(added_at)) if same_request && profile.repeatable => {
            Stored::AddedBefore { id, added_at }
        }
        _ => Stored::EmailTaken,
    }
}
