//! What the tables promise, whoever writes to them.

use std::process::Stdio;

use profile_worker::store::migrate;

use crate::worker::{command, until};
use crate::world::{World, connect};

#[tokio::test]
async fn the_unique_email_is_a_constraint_of_the_table() {
    let world = World::new().await;
    let insert = |db_id: i64, id: &str, email: &str| {
        format!("INSERT INTO profiles (db_id, id, email, data) VALUES ({db_id}, '{id:0>24}', '{email}', '{{}}')")
    };
    world.execute(&insert(1, "1", "john@example.com")).await;
    world.execute(&insert(2, "2", "john@example.com")).await;
    let client = connect(&world.database_url).await;
    for email in ["john@example.com", "JOHN@example.com", "  john@example.com "] {
        let error = client.batch_execute(&insert(1, "3", email)).await.expect_err("refused");
        let constraint = error.as_db_error().and_then(|error| error.constraint()).expect("a constraint");
        assert_eq!(constraint, "profiles_email_unique", "{email}");
    }
}

#[tokio::test]
async fn the_columns_that_operators_rely_on_are_there() {
    let world = World::new().await;
    for (table, columns) in [
        ("databases", "id, name, created_at"),
        ("resources", "id, db_id, name, channels"),
        ("api_tokens", "id, name, token_hash, all_databases, expires_at, revoked_at"),
        ("profiles", "db_id, id, email, data, request_id, created_at"),
        (
            "subscriptions",
            "db_id, profile_id, resource_id, channel, address, status, priority, cats, custom_fields, created_at",
        ),
    ] {
        world.execute(&format!("SELECT {columns} FROM {table}")).await;
    }
}

#[tokio::test]
async fn migrating_at_once_or_again_is_harmless() {
    let world = World::new().await;
    world.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    let (one, two) = tokio::join!(migrate::run(&world.store, || {}), migrate::run(&world.store, || {}));
    let done = [one.expect("migrated"), two.expect("migrated")].concat();
    assert_eq!(done, ["0001_create_schema", "0002_define_fields", "0003_keep_suspects"], "once in all");
    assert!(migrate::run(&world.store, || {}).await.expect("migrated").is_empty());
}

#[tokio::test]
async fn migrating_waits_for_another_that_takes_long() {
    /// "profwork" in ASCII; operators may see it in `pg_locks`.
    const LOCK: i64 = 0x7072_6f66_776f_726b;
    let world = World::new().await;
    let another = connect(&world.database_url).await;
    another.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.expect("the lock");
    let mut migrating = command();
    migrating.arg("migrate").env("DATABASE_URL", &world.database_url).stderr(Stdio::piped());
    let mut migrating = migrating.spawn().expect("a process");
    // Longer than a statement of a worker waits for a lock.
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'
                 AND now() - state_change > interval '3 seconds'";
    tokio::select! {
        ended = migrating.wait() => panic!("it did not wait: {ended:?}"),
        () = until(async || world.number(waits).await == 1) => {}
    }
    another.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await.expect("unlocked");
    let output = migrating.wait_with_output().await.expect("its end");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "another process migrates this database; waiting for it\nthe schema is up to date (version 3)\n");
}

#[tokio::test]
async fn a_migration_that_was_changed_afterwards_is_noticed() {
    let world = World::new().await;
    world.execute("UPDATE schema_migrations SET checksum = 'x'").await;
    let error = migrate::run(&world.store, || {}).await.expect_err("noticed");
    assert!(error.to_string().contains("was changed"), "{error}");
}
