//! Storing a batch of profiles with their subscriptions: one statement, one commit. And finding
//! out what stands there already.

use std::borrow::Cow;
use std::time::SystemTime;

use jiff::Timestamp;
use tokio_postgres::types::ToSql;

use super::error::StoreError;
use super::pool::{Lease, Store, within};
use super::time::{system_time, timestamp};
use crate::domain::identity::{Hex, ProfileId, RequestId};
use crate::domain::profile::NewProfile;
use crate::domain::value::Json;

/// What became of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It stands in the database, under the id that it was given.
    Added,
    /// This very request added it before.
    AddedBefore {
        /// The id that it has.
        id: ProfileId,
        /// When it was added.
        added_at: Timestamp,
    },
    /// Another profile of this database has its email.
    EmailTaken,
}

/// Adds profiles and their subscriptions; what conflicts with a row that is there is left out.
/// Returns the places of those left out, which are few; only if there are any is it looked which.
///
/// `IN (…) IS TRUE` rather than a join: PostgreSQL can't guess how long the arrays are, and might
/// choose a nested loop over them; in this form it always builds one hash table of the ids.
macro_rules! insert {
    ($conflicts:literal) => {
        concat!(
            "
WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::timestamptz[])
        WITH ORDINALITY AS i (db_id, id, email, data, request_id, created_at, place)
),
-- in the order of the arrays, which are sorted: two lanes that insert the same emails in different
-- orders would lock each other out
added AS (
    INSERT INTO profiles (db_id, id, email, data, request_id, created_at)
    SELECT db_id, id, email, data::jsonb, request_id, created_at FROM input
    ON CONFLICT ",
            $conflicts,
            " DO NOTHING
    RETURNING id
),
-- subscriptions of the profiles that were added, and of no others
subscribed AS (
    INSERT INTO subscriptions (db_id, profile_id, position, resource_id, channel, address, status, priority,
                               cats, custom_fields, date, ip, url, created_at)
    SELECT db_id, profile_id, position, resource_id, channel, address, status, priority,
           cats::jsonb, custom_fields::jsonb, date, ip::inet, url, created_at
    FROM unnest($7::bigint[], $8::text[], $9::int[], $10::bigint[], $11::text[], $12::text[], $13::text[],
                $14::bigint[], $15::text[], $16::text[], $17::timestamptz[], $18::text[], $19::text[], $20::timestamptz[])
        AS s (db_id, profile_id, position, resource_id, channel, address, status, priority,
              cats, custom_fields, date, ip, url, created_at)
    WHERE (profile_id IN (SELECT id FROM added)) IS TRUE
)
SELECT place FROM input
WHERE (SELECT count(*) FROM added) < cardinality($1) AND (id IN (SELECT id FROM added)) IS NOT TRUE"
        )
    };
}

/// For profiles that all have an email: they conflict by it or not at all, also with what an
/// earlier attempt has left. PostgreSQL then looks into one index for each row before it inserts,
/// and not into all that are unique, which makes the statement a tenth cheaper.
const INSERT_WITH_EMAIL: &str = insert!("(db_id, email_key)");

/// For any profiles.
const INSERT: &str = insert!("");

/// For a lonely profile with an email and at most one subscription: it is answered the sooner. As
/// PostgreSQL sets up each of the arrays of the other statements on its own, they take a sixth
/// longer.
const INSERT_ONE: &str = "
WITH added AS (
    INSERT INTO profiles (db_id, id, email, data, request_id, created_at)
    VALUES ($1, $2, $3, $4::text::jsonb, $5, $6)
    ON CONFLICT (db_id, email_key) DO NOTHING
    RETURNING id
),
subscribed AS (
    INSERT INTO subscriptions (db_id, profile_id, position, resource_id, channel, address, status, priority,
                               cats, custom_fields, date, ip, url, created_at)
    SELECT $1, $2, $7::int, $8::bigint, $9::text, $10::text, $11::text, $12::bigint, $13::text::jsonb, $14::text::jsonb,
           $15::timestamptz, $16::text::inet, $17::text, $6
    FROM added WHERE $7::int IS NOT NULL
)
SELECT 1::bigint WHERE NOT EXISTS (SELECT 1 FROM added)";

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
const FIND: &str = "
WITH replicated AS MATERIALIZED (
    SELECT CASE WHEN current_setting('synchronous_standby_names') <> ''
                THEN pg_logical_emit_message(true, 'profile-worker', '') END
)
SELECT wanted.place, found.id, found.request_id, found.created_at
FROM replicated CROSS JOIN unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[])
    WITH ORDINALITY AS wanted (db_id, id, email, request_id, place)
CROSS JOIN LATERAL (
    SELECT p.id, p.request_id, p.created_at FROM profiles p
    WHERE p.db_id = wanted.db_id AND p.email_key = lower(btrim(wanted.email))
    UNION ALL
    SELECT p.id, p.request_id, p.created_at FROM profiles p
    WHERE p.db_id = wanted.db_id AND p.request_id = wanted.request_id AND p.email IS NULL AND wanted.email IS NULL
    UNION ALL
    SELECT p.id, p.request_id, p.created_at FROM profiles p
    WHERE p.db_id = wanted.db_id AND p.id = wanted.id
    OFFSET 0
) AS found";

/// A row may be deleted between the insert that it stopped and the look at it. So often is the
/// insert tried again before that is believed to be something else.
const VANISHED_MAX: u32 = 5;

impl Store {
    /// Adds profiles with their subscriptions, all in one transaction. The result has the order of
    /// the argument.
    ///
    /// Calling this again with the same profiles, after an error that leaves it open whether the
    /// transaction was committed, finds the rows of the first call by their ids.
    pub async fn insert(&self, profiles: &[&NewProfile]) -> Result<Vec<Stored>, StoreError> {
        let lease = self.lease().await?;
        let stored = insert_or_find(&lease, profiles).await;
        if let (Ok(_), Some(profile)) = (&stored, profiles.first()) {
            self.has_stored_in(profile.db_id);
        }
        if is_fit_after(&stored) && size(profiles) < LARGE_STATEMENT_BYTES {
            lease.give_back();
        }
        stored
    }
}

/// After a statement as large as this the connection is closed: the client library keeps a buffer of
/// that size for as long as a connection lives, and another one may be next.
const LARGE_STATEMENT_BYTES: usize = 1024 * 1024;

/// About the bytes of a statement that adds these.
fn size(profiles: &[&NewProfile]) -> usize {
    profiles.iter().map(|profile| profile.data.as_str().len()).sum()
}

/// Whether a connection has said its word, and is fit for another statement.
fn is_fit_after<T>(answer: &Result<T, StoreError>) -> bool {
    use StoreError::{Conflict, Denied, Refused, Slow};
    matches!(answer, Ok(_) | Err(Refused(_) | Conflict(_) | Slow(_) | Denied { .. }))
}

/// Inserts what can be inserted, and finds out what stands in the way of the rest.
async fn insert_or_find(lease: &Lease, profiles: &[&NewProfile]) -> Result<Vec<Stored>, StoreError> {
    let mut stored = vec![Stored::Added; profiles.len()];
    let mut open: Vec<usize> = (0..profiles.len()).collect();
    for _ in 0..VANISHED_MAX {
        let batch: Vec<_> = open.iter().map(|&place| profiles[place]).collect();
        let left_out: Vec<usize> = insert(lease, &batch).await?.into_iter().map(|i| open[i]).collect();
        if left_out.is_empty() {
            return Ok(stored);
        }
        let batch: Vec<_> = left_out.iter().map(|&place| profiles[place]).collect();
        let found = find(lease, &batch).await?;
        open.clear();
        for (place, found) in left_out.into_iter().zip(found) {
            match found {
                Some(outcome) => stored[place] = outcome,
                None => open.push(place),
            }
        }
        if open.is_empty() {
            return Ok(stored);
        }
    }
    Err(StoreError::Unavailable("rows come and go while they are inserted".to_owned()))
}

/// What storing takes, in one database: a row as large as a few pages of a table, so that a
/// full disk shows.
fn probe_rows(db_id: i64) -> String {
    format!(
        "INSERT INTO profiles (db_id, id, data)
             SELECT {db_id}, substr(md5(random()::text), 1, 24), jsonb_build_object('probe', string_agg(md5(random()::text), ''))
             FROM generate_series(1, 2000);
         INSERT INTO suspects (request_id, begun, begun_at) VALUES (decode(md5(random()::text), 'hex'), 0, now())"
    )
}

/// Databases in which the probe is tried, besides the last one that took a profile. One that none
/// of them takes is not theirs; more of them would only fill the server's log.
const PROBED_MAX: i64 = 8;

/// No tenant has this id, so what an operator has ruled for one does not concern it.
const NOBODYS_DB_ID: i64 = 0;

impl Store {
    /// Whether a profile without any data could be stored now, by the statements that requests are
    /// stored by. Nothing stays of it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Setup`] if no database takes one and no waiting will mend that; it says what
    /// to do. Others as for any statement: waiting may mend it. That a rule for the data is against an
    /// empty profile is no error.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let words = match self.probe_in(self.last_stored_in()).await {
            Err(StoreError::Denied { words, .. }) => words,
            tried => return tried,
        };
        self.check_rights().await?;
        // What is denied for one tenant may be granted for others.
        for db_id in self.some_databases().await? {
            match self.probe_in(db_id).await {
                Err(StoreError::Denied { .. }) => {}
                tried => return tried,
            }
        }
        Err(StoreError::Setup(format!("no profile can be stored, not even an empty one: {words}")))
    }

    async fn some_databases(&self) -> Result<Vec<i64>, StoreError> {
        let lease = self.lease().await?;
        let some = lease.query("SELECT id FROM databases ORDER BY id LIMIT $1", &[&PROBED_MAX]);
        let rows = self.explained(within("databases", some).await).await?;
        lease.give_back();
        Ok(std::iter::once(NOBODYS_DB_ID).chain(rows.iter().map(|row| row.get(0))).collect())
    }

    async fn probe_in(&self, db_id: i64) -> Result<(), StoreError> {
        let lease = self.lease().await?;
        let tried = store_nothing(&lease, db_id).await;
        if is_fit_after(&tried) {
            within("rollback", lease.batch_execute("ROLLBACK")).await?;
            lease.give_back();
        }
        match tried {
            // Somebody's rule is against it, not the database.
            Err(StoreError::Refused(_)) => Ok(()),
            tried => tried,
        }
    }
}

/// Leaves a transaction that is to be rolled back.
async fn store_nothing(lease: &Lease, db_id: i64) -> Result<(), StoreError> {
    within("probe", lease.batch_execute("BEGIN")).await?;
    // Without a single row rights, tables and columns are looked at all the same.
    insert(lease, &[]).await?;
    find(lease, &[]).await?;
    within("probe", lease.batch_execute(&probe_rows(db_id))).await
}

/// Gives rows of profiles the identity of their request. One that has an identity keeps it, and of
/// several with one identity the first has it: the others stay as they are.
const MARK: &str = "
WITH wanted AS (
    SELECT DISTINCT ON (db_id, request_id) db_id, id, request_id
    FROM unnest($1::bigint[], $2::text[], $3::bytea[]) WITH ORDINALITY AS w (db_id, id, request_id, place)
    ORDER BY db_id, request_id, place
)
UPDATE profiles SET request_id = wanted.request_id FROM wanted
WHERE profiles.db_id = wanted.db_id AND profiles.id = wanted.id
    AND profiles.request_id IS NULL AND profiles.email IS NULL
    AND NOT EXISTS (SELECT 1 FROM profiles AS other WHERE other.db_id = wanted.db_id
                    AND other.request_id = wanted.request_id AND other.email IS NULL)";

/// Another worker may mark an equal request between our look and our update; then the look finds
/// its row. More often than this nobody comes in between by chance.
const MARKS_MAX: u32 = 3;

impl Store {
    /// Leaves a trace in rows that nothing could find again: those of profiles that have no email,
    /// of requests without a `message_id`. A redelivery of such a request, which is looked for by
    /// the same `request_id`, then finds its row ([`Stored::AddedBefore`]).
    ///
    /// A row that has a `request_id` or an email, that is gone, or whose `request_id` another row
    /// of the database has, is left as it is.
    pub async fn mark(&self, rows: &[(i64, ProfileId, RequestId)]) -> Result<(), StoreError> {
        let mut marked = Ok(());
        for _ in 0..MARKS_MAX {
            marked = self.mark_once(rows).await;
            if !marked.as_ref().is_err_and(StoreError::is_unique_violation) {
                break;
            }
        }
        self.explained(marked).await
    }

    async fn mark_once(&self, rows: &[(i64, ProfileId, RequestId)]) -> Result<(), StoreError> {
        let db_ids: Vec<_> = rows.iter().map(|(db_id, ..)| *db_id).collect();
        let ids: Vec<_> = rows.iter().map(|(_, id, _)| id.hex()).collect();
        let request_ids: Vec<_> = rows.iter().map(|(.., request_id)| &request_id.0[..]).collect();
        let lease = self.lease().await?;
        let statement = within("prepare", lease.prepare_cached(MARK)).await?;
        within("mark", lease.execute(&statement, &[&db_ids, &texts(&ids), &request_ids])).await?;
        lease.give_back();
        Ok(())
    }
}

/// Inserts; returns the places in `profiles` of those left out.
async fn insert(lease: &Lease, profiles: &[&NewProfile]) -> Result<Vec<usize>, StoreError> {
    if let [profile] = profiles
        && profile.email.is_some()
        && profile.subscriptions.len() <= 1
    {
        return insert_one(lease, profile).await;
    }
    let order = insertion_order(profiles);
    let columns = Columns::of(order.iter().map(|&place| profiles[place]));
    let text = if profiles.iter().all(|profile| profile.email.is_some()) { INSERT_WITH_EMAIL } else { INSERT };
    let statement = within("prepare", lease.prepare_cached(text)).await?;
    let Columns { profiles: p, subscriptions: s } = &columns;
    let rows = within(
        "insert",
        lease.query(
            &statement,
            &[
                &p.db_id,
                &texts(&p.id),
                &p.email,
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
        ),
    )
    .await?;
    Ok(rows.iter().map(|row| order[place(row)]).collect())
}

async fn insert_one(lease: &Lease, profile: &NewProfile) -> Result<Vec<usize>, StoreError> {
    let statement = within("prepare", lease.prepare_cached(INSERT_ONE)).await?;
    let Columns { profiles: p, subscriptions: s } = &Columns::of([profile].into_iter());
    let rows = within(
        "insert",
        lease.query(
            &statement,
            &[
                &p.db_id[0],
                &p.id[0].as_str(),
                &p.email[0],
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
        ),
    )
    .await?;
    Ok(rows.iter().map(place).collect())
}

/// The same in every lane of every worker, so that none waits for another in a circle.
fn insertion_order(profiles: &[&NewProfile]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..profiles.len()).collect();
    if profiles.len() > 1 {
        order.sort_by_cached_key(|&place| {
            let profile: &NewProfile = profiles[place];
            let email = profile.email.as_deref().map(lower_case);
            // Of two with one email the first of the request is the one that is added.
            let request_id = if email.is_none() { profile.request_id } else { None };
            (profile.db_id, email, request_id.map(|id| id.0))
        });
    }
    order
}

/// Most emails are in lower case already.
fn lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.to_lowercase())
    }
}

async fn find(lease: &Lease, profiles: &[&NewProfile]) -> Result<Vec<Option<Stored>>, StoreError> {
    let columns = ProfileColumns::of(profiles.iter().copied());
    let statement = within("prepare", lease.prepare_cached(FIND)).await?;
    let parameters: [&(dyn ToSql + Sync); 4] =
        [&columns.db_id, &texts(&columns.id), &columns.email, &columns.request_id];
    let rows = within("find", lease.query(&statement, &parameters)).await?;
    let mut found = vec![None; profiles.len()];
    for row in &rows {
        let place = place(row);
        let there = judge(profiles[place], row);
        // The row with our own id proves more than any other.
        if found[place].is_none() || there == Stored::Added {
            found[place] = Some(there);
        }
    }
    Ok(found)
}

fn judge(profile: &NewProfile, row: &tokio_postgres::Row) -> Stored {
    let id = ProfileId::parse(row.get(1));
    let request_id: Option<&[u8]> = row.get(2);
    let same_request = profile.request_id.is_some_and(|own| request_id == Some(&own.0[..]));
    match (id, timestamp(row.get(3))) {
        (Some(id), _) if id == profile.id => Stored::Added,
        (Some(id), Some(added_at)) if same_request && profile.repeatable => Stored::AddedBefore { id, added_at },
        _ => Stored::EmailTaken,
    }
}

fn texts(ids: &[Hex<24>]) -> Vec<&str> {
    ids.iter().map(Hex::as_str).collect()
}

/// PostgreSQL counts places from 1.
fn place(row: &tokio_postgres::Row) -> usize {
    let place: i64 = row.get(0);
    usize::try_from(place - 1).unwrap_or(0)
}

/// The arrays of the statement, one element per row.
struct Columns<'a> {
    profiles: ProfileColumns<'a>,
    subscriptions: SubscriptionColumns<'a>,
}

#[derive(Default)]
struct ProfileColumns<'a> {
    db_id: Vec<i64>,
    id: Vec<Hex<24>>,
    email: Vec<Option<&'a str>>,
    data: Vec<&'a str>,
    request_id: Vec<Option<&'a [u8]>>,
    created_at: Vec<SystemTime>,
}

#[derive(Default)]
struct SubscriptionColumns<'a> {
    db_id: Vec<i64>,
    profile_id: Vec<Hex<24>>,
    position: Vec<i32>,
    resource_id: Vec<i64>,
    channel: Vec<&'a str>,
    address: Vec<&'a str>,
    status: Vec<&'a str>,
    priority: Vec<Option<i64>>,
    cats: Vec<Option<&'a str>>,
    custom_fields: Vec<Option<&'a str>>,
    date: Vec<Option<SystemTime>>,
    ip: Vec<Option<String>>,
    url: Vec<Option<&'a str>>,
    created_at: Vec<SystemTime>,
}

impl<'a> ProfileColumns<'a> {
    fn of(profiles: impl Iterator<Item = &'a NewProfile>) -> Self {
        let mut columns = Self::default();
        for profile in profiles {
            columns.push(profile);
        }
        columns
    }

    fn push(&mut self, profile: &'a NewProfile) {
        self.db_id.push(profile.db_id);
        self.id.push(profile.id.hex());
        self.email.push(profile.email.as_deref());
        self.data.push(profile.data.as_str());
        self.request_id.push(profile.request_id.as_ref().map(|RequestId(bytes)| &bytes[..]));
        self.created_at.push(system_time(profile.added_at));
    }
}

impl<'a> Columns<'a> {
    fn of(profiles: impl Iterator<Item = &'a NewProfile>) -> Self {
        let mut columns = Self { profiles: ProfileColumns::default(), subscriptions: SubscriptionColumns::default() };
        for profile in profiles {
            columns.profiles.push(profile);
            columns.subscriptions.extend(profile);
        }
        columns
    }
}

impl<'a> SubscriptionColumns<'a> {
    fn extend(&mut self, profile: &'a NewProfile) {
        for (position, subscription) in (0..).zip(&profile.subscriptions) {
            self.db_id.push(profile.db_id);
            self.profile_id.push(profile.id.hex());
            self.position.push(position);
            self.resource_id.push(subscription.resource_id);
            self.channel.push(subscription.channel.name());
            self.address.push(&subscription.address);
            self.status.push(&subscription.status);
            self.priority.push(subscription.priority);
            self.cats.push(subscription.cats.as_ref().map(Json::as_str));
            self.custom_fields.push(subscription.custom_fields.as_ref().map(Json::as_str));
            self.date.push(subscription.date.map(system_time));
            self.ip.push(subscription.ip.map(|ip| ip.to_string()));
            self.url.push(subscription.url.as_deref());
            self.created_at.push(system_time(profile.added_at));
        }
    }
}
