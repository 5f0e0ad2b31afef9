//! Bringing the schema up to date: numbered SQL files, embedded in the binary, run in order.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::email::{self, contract::contract_new};
use super::error::{StoreError, waited_for_lock};
use super::pool::{Lease, Store, within};

/// One file of `migrations/`.
struct Migration {
    number: i32,
    name: &'static str,
    sql: &'static str,
    /// The index that it builds while others go on writing, which no transaction can do: the file
    /// holds this one statement. `None`: it runs in a transaction.
    concurrently: Option<&'static str>,
}

const fn in_transaction(number: i32, name: &'static str, sql: &'static str) -> Migration {
    Migration {
        number,
        name,
        sql,
        concurrently: None,
    }
}

/// All of them, numbered from 1 without gaps.
const MIGRATIONS: &[Migration] = &[
    in_transaction(
        1,
        "create_schema",
        include_str!("../../migrations/0001_create_schema.sql"),
    ),
    in_transaction(
        2,
        "define_fields",
        include_str!("../../migrations/0002_define_fields.sql"),
    ),
    in_transaction(
        3,
        "keep_suspects",
        include_str!("../../migrations/0003_keep_suspects.sql"),
    ),
    in_transaction(
        4,
        "hash_emails",
        include_str!("../../migrations/0004_hash_emails.sql"),
    ),
    Migration {
        number: 5,
        name: "index_email_hashes",
        sql: include_str!("../../migrations/0005_index_email_hashes.sql"),
        concurrently: Some("profiles_email_hash_unique"),
    },
];

/// The one that makes the schema; where it was run just now there is nobody to wait for.
const FIRST: i32 = 1;

/// Several workers may be started at once; one migrates, the others wait. The number is arbitrary
/// ("profwork" in ASCII) and must never change.
const LOCK: i64 = 0x7072_6f66_776f_726b;

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
    MIGRATIONS.last().map_or(0, |migration| migration.number)
}

/// Runs the migrations that are missing; returns the names of those. If another process is at it,
/// calls `waits` and waits for that one, however long it takes.
pub async fn run(store: &Store, waits: impl FnOnce()) -> Result<Vec<String>, MigrateError> {
    let lease = store.lease().await?;
    check_encoding(&lease).await?;
    // Waiting for another migration may take longer than a statement of the worker should.
    batch(
        &lease,
        "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0",
    )
    .await?;
    lock(&lease, waits).await?;
    batch(
        &lease,
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             number   integer     PRIMARY KEY,
             name     text        NOT NULL,
             checksum bytea       NOT NULL,
             run_at   timestamptz NOT NULL DEFAULT now()
         )",
    )
    .await?;
    let mut done = Vec::new();
    let mut is_new = false;
    for migration in MIGRATIONS {
        if apply(&lease, migration).await? {
            done.push(format!("{:04}_{}", migration.number, migration.name));
            is_new |= migration.number == FIRST;
        }
    }
    email::write_rule_if_none(&lease).await?;
    if is_new {
        contract_new(&lease).await?;
    }
    // The lock ends with the session, which is not given back to the pool.
    Ok(done)
}

/// Taken by asking again and again: who waits for it inside of a statement would be waited for by
/// an index that is built concurrently.
async fn lock(lease: &Lease, waits: impl FnOnce()) -> Result<(), StoreError> {
    let mut waits = Some(waits);
    loop {
        if lease
            .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK])
            .await?
            .get(0)
        {
            return Ok(());
        }
        if let Some(waits) = waits.take() {
            waits();
        }
        tokio::time::sleep(LOCK_EVERY).await;
    }
}

/// How often it is asked for.
const LOCK_EVERY: Duration = Duration::from_millis(100);

/// How often a table that somebody uses is asked for; each time for as long as the session's limit
/// for locks says, and holds up others for as long.
const TRIES_MAX: u32 = 30;

/// Between two tries: those who were held up come first.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether the migration was still to be run.
async fn apply(lease: &Lease, migration: &Migration) -> Result<bool, MigrateError> {
    let checksum = Sha256::digest(migration.sql.as_bytes()).to_vec();
    let row = lease
        .query_opt(
            "SELECT checksum FROM schema_migrations WHERE number = $1",
            &[&migration.number],
        )
        .await
        .map_err(StoreError::from)?;
    match row.map(|row| row.get::<_, Vec<u8>>(0)) {
        Some(known) if known == checksum => return Ok(false),
        Some(_) => return Err(MigrateError::Changed(migration.number)),
        None => {}
    }
    let mut tries = 1;
    while let Err(error) = execute(lease, migration, &checksum).await {
        if !waited_for_lock(&error) || tries == TRIES_MAX {
            return Err(failed(migration, error));
        }
        tries += 1;
        batch(lease, "ROLLBACK").await?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(true)
}

fn failed(migration: &Migration, error: tokio_postgres::Error) -> MigrateError {
    match error.as_db_error() {
        Some(refusal) => MigrateError::Failed {
            number: migration.number,
            name: migration.name,
            text: refusal.message().to_owned(),
        },
        None => MigrateError::Store(error.into()),
    }
}

async fn execute(
    lease: &Lease,
    migration: &Migration,
    checksum: &[u8],
) -> Result<(), tokio_postgres::Error> {
    if let Some(index) = migration.concurrently {
        drop_if_invalid(lease, index).await?;
        if is_partitioned(lease).await? {
            lease
                .batch_execute(&migration.sql.replace("CONCURRENTLY ", ""))
                .await?;
        } else {
            // Its waiting holds up nobody.
            lease.batch_execute("SET lock_timeout = 0").await?;
            lease.batch_execute(migration.sql).await?;
        }
        lease.batch_execute("BEGIN").await?;
    } else {
        lease
            .batch_execute(&format!("BEGIN; {}", migration.sql))
            .await?;
    }
    lease
        .execute(
            "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
            &[&migration.number, &migration.name, &checksum],
        )
        .await?;
    lease.batch_execute("COMMIT").await
}

/// PostgreSQL builds no index of a partitioned table concurrently. Who has large partitions builds
/// it on each of them beforehand; then there is nothing left to wait for (docs/scaling.md).
async fn is_partitioned(lease: &Lease) -> Result<bool, tokio_postgres::Error> {
    let look =
        "SELECT EXISTS (SELECT FROM pg_class WHERE oid = 'profiles'::regclass AND relkind = 'p')";
    Ok(lease.query_one(look, &[]).await?.get(0))
}

/// What an interruption left of an index that was built concurrently: it is kept up and serves
/// nobody.
async fn drop_if_invalid(lease: &Lease, index: &str) -> Result<(), tokio_postgres::Error> {
    let look = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid)";
    if lease.query_one(look, &[&index]).await?.get(0) {
        lease
            .batch_execute(&format!("DROP INDEX CONCURRENTLY {index}"))
            .await?;
    }
    Ok(())
}

async fn batch(lease: &Lease, sql: &str) -> Result<(), StoreError> {
    Ok(lease.batch_execute(sql).await?)
}

async fn check_encoding(lease: &Lease) -> Result<(), MigrateError> {
    let row = lease
        .query_one("SHOW server_encoding", &[])
        .await
        .map_err(StoreError::from)?;
    let encoding: String = row.get(0);
    if encoding == "UTF8" {
        Ok(())
    } else {
        Err(MigrateError::Encoding(encoding))
    }
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
    let last = lease.query_one(
        "SELECT coalesce(max(number), 0) FROM schema_migrations",
        &[],
    );
    let row = within("schema version", last).await?;
    lease.give_back();
    Ok(row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_registered_under_its_number() {
        let mut files: Vec<_> =
            std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.ends_with(".sql"))
                .collect();
        files.sort();
        let registered: Vec<_> = MIGRATIONS
            .iter()
            .map(|m| format!("{:04}_{}.sql", m.number, m.name))
            .collect();
        assert_eq!(registered, files);
        assert!(
            MIGRATIONS
                .iter()
                .zip(1..)
                .all(|(m, number)| m.number == number)
        );
    }
}
