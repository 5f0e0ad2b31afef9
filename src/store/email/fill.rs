//! Filling in the hash for profiles from before it, in parts, beside workers that go on.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_postgres::types::ToSql;

use super::correct::retry_conflicts;
use super::hash::Hash;
use super::rule;
use crate::domain::email::{Email, EmailKey};
use crate::store::error::StoreError;
use crate::store::lease::Lease;
use crate::store::pool::Store;
use crate::store::schema::{self, MigrateError};

/// Rows that are looked at in one statement, and changed in one transaction: some ten milliseconds,
/// for which a request with one of their emails may have to wait.
const PART_ROWS: i64 = 1000;

/// Tries of a part that something came in between of: a worker that inserted an email of it, a
/// lock.
const TRIES_MAX: u32 = 20;

/// One at a time ("profemai" in ASCII). It ends with the session.
const LOCK: i64 = 0x7072_6f66_656d_6169;

/// Why profiles could not be filled in.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// The database did not do as it was told.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The schema is not there yet.
    #[error(transparent)]
    Schema(#[from] MigrateError),
    /// Workers would go on to make hashes by their own rule.
    #[error(
        "this version makes hashes of emails by another rule than those in the database, so they are made anew; \
         stop all workers first: one is connected ({0})"
    )]
    WorkerConnected(String),
    /// Two would do the same work, and wait for each other.
    #[error(
        "another process is filling in hashes of this database; look for it in pg_stat_activity"
    )]
    Busy,
}

/// How much is left of the database for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A rest after each part, as long as the part took.
    Gentle,
    /// One part after the other.
    Full,
}

/// What is done, and was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filled {
    /// Profiles that were looked at.
    pub seen: u64,
    /// About how many there are, by the server's statistics.
    pub total: u64,
    /// Those that got the hash of their email.
    pub filled: u64,
    /// Those that got one of their own.
    pub conflicts: u64,
    /// Hashes are made anew, as this program has another rule than they were made by.
    pub by_new_rule: bool,
}

impl Store {
    /// Gives each profile that has an email and no hash its hash, and each listed conflict that is
    /// none any more. `tell` hears of each part.
    ///
    /// What was filled stays filled: after an interruption it passes over it. It may be run as
    /// often as one likes, beside workers of any version.
    ///
    /// Where the database has hashes of another rule ([`Rule`](crate::domain::email::Rule)), all
    /// that may differ are made anew, and the rule of this program is written down. No worker may
    /// run meanwhile.
    ///
    /// # Errors
    ///
    /// See [`FillError`]. What was filled before stays.
    pub async fn fill_emails(
        &self,
        pace: Pace,
        mut tell: impl FnMut(&Filled),
    ) -> Result<Filled, FillError> {
        schema::check(self).await?;
        let by_new_rule = match rule::check(self).await {
            Ok(()) => false,
            Err(MigrateError::EmailRule { .. }) => true,
            Err(error) => return Err(error.into()),
        };
        if by_new_rule && let Some(who) = self.session_before(i32::MAX).await? {
            return Err(FillError::WorkerConnected(who));
        }
        let lease = self.lease().await?;
        let free: bool = lease
            .query_one("lock", "SELECT pg_try_advisory_lock($1)", &[&LOCK])
            .await?
            .get(0);
        if !free {
            return Err(FillError::Busy);
        }
        let mut done = Filled {
            total: estimate(&lease).await?,
            by_new_rule,
            ..Filled::default()
        };
        tell(&done);
        done.filled += retry_conflicts(&lease).await?;
        let mut after = (i64::MIN, String::new());
        loop {
            let started = Instant::now();
            let mut tries = 0;
            let part = loop {
                match fill_part(&lease, &after, by_new_rule).await {
                    Err(error) if may_pass(&error) && tries < TRIES_MAX => tries += 1,
                    done => break done?,
                }
                tokio::time::sleep(Duration::from_millis(100) * tries).await;
            };
            done.seen += part.seen;
            done.filled += part.filled;
            done.conflicts += part.conflicts;
            tell(&done);
            let Some(last) = part.last else {
                break;
            };
            after = last;
            if pace == Pace::Gentle && part.filled + part.conflicts > 0 {
                tokio::time::sleep(started.elapsed()).await;
            }
        }
        if by_new_rule {
            // What was in the way of a hash may have got another one.
            done.filled += retry_conflicts(&lease).await?;
            rule::write(&lease).await?;
        }
        Ok(done)
    }

    /// How many profiles have an email and no hash.
    pub(super) async fn count_unfilled(&self) -> Result<i64, StoreError> {
        const COUNT: &str =
            "SELECT count(*) FROM profiles WHERE email IS NOT NULL AND email_hash IS NULL";
        let lease = self.lease().await?;
        // It reads the whole table.
        lease.batch("count", "SET enable_seqscan = on").await?;
        Ok(lease.query_one_at_length("count", COUNT).await?.get(0))
    }
}

/// Whether something came in between that another try will not meet.
fn may_pass(error: &StoreError) -> bool {
    matches!(error, StoreError::Conflict(_) | StoreError::Slow(_)) || error.is_unique_violation()
}

async fn estimate(lease: &Lease) -> Result<u64, StoreError> {
    let rows =
        "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'profiles'::regclass";
    let rows: i64 = lease.query_one("estimate", rows, &[]).await?.get(0);
    Ok(u64::try_from(rows).unwrap_or(0))
}

#[derive(Default)]
struct Part {
    seen: u64,
    filled: u64,
    conflicts: u64,
    /// The last profile that was looked at; `None` if there was none.
    last: Option<(i64, String)>,
}

/// The email comes only with rows that have no hash yet, and with those that another rule may give
/// another one: no rule changes what is ASCII and not in ASCII form.
const LOOK: &str = "
SELECT db_id, id, CASE WHEN email_hash IS NULL
                         OR $4 AND (octet_length(email) <> char_length(email) OR email ~* 'xn--') THEN email END
FROM profiles
WHERE (db_id, id) > ($1, $2) ORDER BY db_id, id LIMIT $3";

/// Fills in hashes, and lists the profiles that can't have that of their email.
///
/// Of two profiles of one part, the caller has found out that they have one email (`other_id`); of
/// others the index tells. A row that was changed meanwhile is left for another run.
const FILL: &str = "
WITH given AS MATERIALIZED (
    SELECT i.*, coalesce(i.other_id, (
        SELECT p.id FROM profiles p WHERE p.db_id = i.db_id AND p.email_hash = i.hash AND p.id <> i.id
    )) AS taken_by
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::text[])
        AS i (db_id, id, email, hash, own_hash, reason, other_id)
),
input AS (
    SELECT *, CASE WHEN reason IS NULL AND taken_by IS NULL THEN hash ELSE own_hash END AS new_hash FROM given
),
filled AS (
    UPDATE profiles p SET email_hash = i.new_hash
    FROM input i
    WHERE p.db_id = i.db_id AND p.id = i.id AND p.email = i.email
        AND p.email_hash IS DISTINCT FROM i.new_hash AND p.email_hash IS DISTINCT FROM i.own_hash
    RETURNING p.db_id, p.id, i.reason, i.taken_by
),
listed AS (
    INSERT INTO email_conflicts (db_id, profile_id, reason, other_id)
    SELECT db_id, id, coalesce(reason, 'another profile has this email'), taken_by FROM filled
    WHERE reason IS NOT NULL OR taken_by IS NOT NULL
    ON CONFLICT (db_id, profile_id) DO UPDATE
        SET reason = excluded.reason, other_id = excluded.other_id, found_at = now()
    RETURNING 1
)
SELECT (SELECT count(*) FROM filled), (SELECT count(*) FROM listed)";

async fn fill_part(
    lease: &Lease,
    after: &(i64, String),
    by_new_rule: bool,
) -> Result<Part, StoreError> {
    let look = lease.prepare(LOOK).await?;
    let rows = lease
        .query(
            "look",
            &look,
            &[&after.0, &after.1, &PART_ROWS, &by_new_rule],
        )
        .await?;
    let mut part = Part {
        seen: rows.len() as u64,
        last: rows.last().map(|row| (row.get(0), row.get(1))),
        ..Part::default()
    };
    let mut columns = Columns::default();
    for row in &rows {
        if let Some(email) = row.get(2) {
            columns.push(row.get(0), row.get(1), email);
        }
    }
    if !columns.ids.is_empty() {
        let row = columns.fill(lease).await?;
        let (filled, conflicts): (i64, i64) = (row.get(0), row.get(1));
        part.conflicts = u64::try_from(conflicts).unwrap_or(0);
        part.filled = u64::try_from(filled - conflicts).unwrap_or(0);
    }
    Ok(part)
}

/// The parameters of [`FILL`].
#[derive(Default)]
struct Columns<'a> {
    db_ids: Vec<i64>,
    ids: Vec<&'a str>,
    emails: Vec<&'a str>,
    hashes: Vec<Option<Hash>>,
    own_hashes: Vec<Hash>,
    reasons: Vec<Option<String>>,
    other_ids: Vec<Option<&'a str>>,
    /// By hash, the first profile of this part that has it.
    first: HashMap<(i64, EmailKey), &'a str>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, db_id: i64, id: &'a str, email: &'a str) {
        let (key, reason) = match Email::parse(email) {
            Ok(email) => (Some(email.key()), None),
            Err(what) => (None, Some(what.into_owned())),
        };
        let first = key.map(|key| *self.first.entry((db_id, key)).or_insert(id));
        self.db_ids.push(db_id);
        self.ids.push(id);
        self.emails.push(email);
        self.hashes.push(key.map(Hash));
        self.own_hashes.push(Hash(EmailKey::of_profile(id)));
        self.reasons.push(reason);
        self.other_ids.push(first.filter(|first| *first != id));
    }

    async fn fill(&self, lease: &Lease) -> Result<tokio_postgres::Row, StoreError> {
        let fill = lease.prepare(FILL).await?;
        let parameters: [&(dyn ToSql + Sync); 7] = [
            &self.db_ids,
            &self.ids,
            &self.emails,
            &self.hashes,
            &self.own_hashes,
            &self.reasons,
            &self.other_ids,
        ];
        lease.query_one("fill", &fill, &parameters).await
    }
}
