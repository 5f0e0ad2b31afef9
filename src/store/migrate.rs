//! Bringing the schema up to date: the migrations that were not run yet, in order.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::email::{contract, rule};
use super::error::StoreError;
use super::lease::Lease;
use super::migrations::{MIGRATIONS, Migration};
use super::pool::Store;
use super::schema::MigrateError;

/// The one that makes the schema; where it was run just now there is nobody to wait for.
const FIRST: i32 = 1;

/// Several workers may be started at once; one migrates, the others wait. The number is arbitrary
/// ("profwork" in ASCII) and must never change.
const LOCK: i64 = 0x7072_6f66_776f_726b;

/// Runs the migrations that are missing; returns the names of those. If another process is at it,
/// calls `waits` and waits for that one, however long it takes.
pub async fn run(store: &Store, waits: impl FnOnce()) -> Result<Vec<String>, MigrateError> {
    let lease = store.lease().await?;
    check_encoding(&lease).await?;
    lock(&lease, waits).await?;
    lease
        .batch(
            "schema_migrations",
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
    rule::write_if_none(&lease).await?;
    if is_new {
        contract::contract_new(&lease).await?;
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
            .query_one("lock", "SELECT pg_try_advisory_lock($1)", &[&LOCK])
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
            "schema_migrations",
            "SELECT checksum FROM schema_migrations WHERE number = $1",
            &[&migration.number],
        )
        .await?;
    match row.map(|row| row.get::<_, Vec<u8>>(0)) {
        Some(known) if known == checksum => return Ok(false),
        Some(_) => return Err(MigrateError::Changed(migration.number)),
        None => {}
    }
    let mut tries = 1;
    while let Err(error) = execute(lease, migration, &checksum).await {
        if !matches!(error, StoreError::Slow(_)) || tries == TRIES_MAX {
            return Err(failed(migration, error));
        }
        tries += 1;
        lease.batch("rollback", "ROLLBACK").await?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(true)
}

fn failed(migration: &Migration, error: StoreError) -> MigrateError {
    match error {
        // Nobody said no to it.
        StoreError::Unavailable(_) => MigrateError::Store(error),
        refused => MigrateError::Failed {
            number: migration.number,
            name: migration.name,
            text: refused.to_string(),
        },
    }
}

async fn execute(lease: &Lease, migration: &Migration, checksum: &[u8]) -> Result<(), StoreError> {
    if let Some(index) = migration.concurrently {
        drop_if_invalid(lease, index).await?;
        if is_partitioned(lease).await? {
            let sql = migration.sql.replace("CONCURRENTLY ", "");
            lease.batch_at_length("migration", &sql).await?;
        } else {
            // Its waiting holds up nobody.
            lease.batch("migration", "SET lock_timeout = 0").await?;
            lease.batch_at_length("migration", migration.sql).await?;
        }
        lease.batch("migration", "BEGIN").await?;
    } else {
        let sql = format!("BEGIN; {}", migration.sql);
        lease.batch_at_length("migration", &sql).await?;
    }
    lease
        .execute(
            "migration",
            "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
            &[&migration.number, &migration.name, &checksum],
        )
        .await?;
    lease.batch("migration", "COMMIT").await
}

/// PostgreSQL builds no index of a partitioned table concurrently. Who has large partitions builds
/// it on each of them beforehand; then there is nothing left to wait for (docs/scaling.md).
async fn is_partitioned(lease: &Lease) -> Result<bool, StoreError> {
    let look =
        "SELECT EXISTS (SELECT FROM pg_class WHERE oid = 'profiles'::regclass AND relkind = 'p')";
    Ok(lease.query_one("profiles", look, &[]).await?.get(0))
}

/// What an interruption left of an index that was built concurrently: it is kept up and serves
/// nobody.
async fn drop_if_invalid(lease: &Lease, index: &str) -> Result<(), StoreError> {
    let look = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid)";
    if lease.query_one("index", look, &[&index]).await?.get(0) {
        lease
            .batch_at_length("index", &format!("DROP INDEX CONCURRENTLY {index}"))
            .await?;
    }
    Ok(())
}

async fn check_encoding(lease: &Lease) -> Result<(), MigrateError> {
    let row = lease
        .query_one("encoding", "SHOW server_encoding", &[])
        .await?;
    let encoding: String = row.get(0);
    if encoding == "UTF8" {
        Ok(())
    } else {
        Err(MigrateError::Encoding(encoding))
    }
}
