//! The statements that add profiles. Each has two forms, by what keeps emails unique.

use super::super::email::uniqueness::Uniqueness;
use super::super::error::StoreError;
use super::super::lease::Lease;
use super::columns::{Columns, index, texts};
use crate::domain::email::Email;
use crate::domain::profile::NewProfile;

/// Adds profiles and their subscriptions; what conflicts with a row that is there is left out.
/// Returns the indices of those left out, which are few; only if there are any is it looked which.
///
/// `IN (…) IS TRUE` rather than a join: PostgreSQL can't guess how long the arrays are, and might
/// choose a nested loop over them; in this form it always builds one hash table of the ids.
macro_rules! insert {
    ($on_conflict:expr) => {
        concat!(
            "
WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::bytea[], $7::timestamptz[])
        WITH ORDINALITY AS i (db_id, id, email, email_hash, data, request_id, created_at, ordinal)
),
-- in the order of the arrays, which are sorted: two lanes that insert the same emails in different
-- orders would lock each other out
added AS (
    INSERT INTO profiles (db_id, id, email, email_hash, data, request_id, created_at)
    SELECT db_id, id, email, email_hash, data::jsonb, request_id, created_at FROM input
    ",
            $on_conflict,
            "
    RETURNING id
),
-- subscriptions of the profiles that were added, and of no others
subscribed AS (
    INSERT INTO subscriptions (db_id, profile_id, position, resource_id, channel, address, status, priority,
                               cats, custom_fields, date, ip, url, created_at)
    SELECT db_id, profile_id, position, resource_id, channel, address, status, priority,
           cats::jsonb, custom_fields::jsonb, date, ip::inet, url, created_at
    FROM unnest($8::bigint[], $9::text[], $10::int[], $11::bigint[], $12::text[], $13::text[], $14::text[],
                $15::bigint[], $16::text[], $17::text[], $18::timestamptz[], $19::text[], $20::text[], $21::timestamptz[])
        AS s (db_id, profile_id, position, resource_id, channel, address, status, priority,
              cats, custom_fields, date, ip, url, created_at)
    WHERE (profile_id IN (SELECT id FROM added)) IS TRUE
)
SELECT ordinal FROM input
WHERE (SELECT count(*) FROM added) < cardinality($1) AND (id IN (SELECT id FROM added)) IS NOT TRUE"
        )
    };
}

/// For a lonely profile with an email and at most one subscription: it is answered the sooner. As
/// PostgreSQL sets up each of the arrays of the other statements on its own, they take a sixth
/// longer.
macro_rules! insert_one {
    ($on_conflict:expr) => {
        concat!(
            "
WITH added AS (
    INSERT INTO profiles (db_id, id, email, email_hash, data, request_id, created_at)
    VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7)
    ",
            $on_conflict,
            "
    RETURNING id
),
subscribed AS (
    INSERT INTO subscriptions (db_id, profile_id, position, resource_id, channel, address, status, priority,
                               cats, custom_fields, date, ip, url, created_at)
    SELECT $1, $2, $8::int, $9::bigint, $10::text, $11::text, $12::text, $13::bigint, $14::text::jsonb,
           $15::text::jsonb, $16::timestamptz, $17::text::inet, $18::text, $7
    FROM added WHERE $8::int IS NOT NULL
)
SELECT 1::bigint WHERE NOT EXISTS (SELECT 1 FROM added)"
        )
    };
}

/// A profile that has an email conflicts by it or not at all, also with what an earlier attempt has
/// left. PostgreSQL then looks into one index for each row before it inserts, and not into all that
/// are unique, which makes the statement a tenth cheaper.
macro_rules! by_email {
    () => {
        "ON CONFLICT (db_id, email_hash) WHERE email_hash IS NOT NULL DO NOTHING"
    };
}

/// By whatever is unique: profiles without an email, and the key of older workers while it is
/// there.
macro_rules! by_anything {
    () => {
        "ON CONFLICT DO NOTHING"
    };
}

const INSERT_BY_EMAIL: &str = insert!(by_email!());
const INSERT_BY_ANYTHING: &str = insert!(by_anything!());
const INSERT_ONE_BY_EMAIL: &str = insert_one!(by_email!());
const INSERT_ONE_BY_ANYTHING: &str = insert_one!(by_anything!());

/// Inserts; returns the indices in `profiles` of those left out.
pub(super) async fn insert(
    lease: &Lease,
    unique: Uniqueness,
    profiles: &[&NewProfile],
) -> Result<Vec<usize>, StoreError> {
    if let [profile] = profiles
        && profile.email.is_some()
        && profile.subscriptions.len() <= 1
    {
        return insert_one(lease, unique, profile).await;
    }
    let order = insertion_order(profiles);
    let columns = Columns::of(order.iter().map(|&index| profiles[index]));
    let text = match unique {
        Uniqueness::ByHash if profiles.iter().all(|profile| profile.email.is_some()) => {
            INSERT_BY_EMAIL
        }
        _ => INSERT_BY_ANYTHING,
    };
    let statement = lease.prepare(text).await?;
    let Columns {
        profiles: p,
        subscriptions: s,
    } = &columns;
    let rows = lease
        .query(
            "insert",
            &statement,
            &[
                &p.db_id,
                &texts(&p.id),
                &p.email,
                &p.email_hash,
                &p.data,
                &p.request_id,
                &p.created_at,
                &s.db_id,
                &texts(&s.profile_id),
                &s.position,
                &s.resource_id,
                &s.channel,
                &s.address,
                &s.status,
                &s.priority,
                &s.cats,
                &s.custom_fields,
                &s.date,
                &s.ip,
                &s.url,
                &s.created_at,
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| order[index(row)]).collect())
}

async fn insert_one(
    lease: &Lease,
    unique: Uniqueness,
    profile: &NewProfile,
) -> Result<Vec<usize>, StoreError> {
    let text = match unique {
        Uniqueness::ByHash => INSERT_ONE_BY_EMAIL,
        Uniqueness::ByBoth => INSERT_ONE_BY_ANYTHING,
    };
    let statement = lease.prepare(text).await?;
    let Columns {
        profiles: p,
        subscriptions: s,
    } = &Columns::of([profile].into_iter());
    let rows = lease
        .query(
            "insert",
            &statement,
            &[
                &p.db_id[0],
                &p.id[0].as_str(),
                &p.email[0],
                &p.email_hash[0],
                &p.data[0],
                &p.request_id[0],
                &p.created_at[0],
                &s.position.first(),
                &s.resource_id.first(),
                &s.channel.first(),
                &s.address.first(),
                &s.status.first(),
                &s.priority.first(),
                &s.cats.first(),
                &s.custom_fields.first(),
                &s.date.first(),
                &s.ip.first(),
                &s.url.first(),
            ],
        )
        .await?;
    Ok(rows.iter().map(index).collect())
}

/// The order of insertion: the same in every lane of every worker, so that none waits for another
/// in a circle; and that of the index, so that what is next to each other there is written one
/// after the other.
fn insertion_order(profiles: &[&NewProfile]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..profiles.len()).collect();
    if profiles.len() > 1 {
        order.sort_by_cached_key(|&index| {
            let profile: &NewProfile = profiles[index];
            let key = profile.email.as_ref().map(Email::key);
            // Of two with one email the first of the request is the one that is added.
            let request_id = if key.is_none() {
                profile.request_id
            } else {
                None
            };
            (profile.db_id, key, request_id.map(|id| id.0))
        });
    }
    order
}
