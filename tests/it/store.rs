//! What the tables promise, whoever writes to them.

use std::process::Stdio;

use jiff::Timestamp;
use profile_worker::domain::email::Email;
use profile_worker::domain::identity::{IdSource, RequestId};
use profile_worker::domain::profile::NewProfile;
use profile_worker::domain::value::{Json, Value};
use profile_worker::store::migrate;
use profile_worker::store::pool::Store;
use profile_worker::store::profiles::Stored;
use profile_worker::store::url::DatabaseUrl;

use testkit::worker::{command, until};
use testkit::world::{World, connect};

#[tokio::test]
async fn the_unique_email_is_a_constraint_of_the_table() {
    let world = World::new().await;
    let insert = |db_id: i64, id: &str, email: &str| {
        format!(
            "INSERT INTO profiles (db_id, id, email, email_hash, data)
             VALUES ({db_id}, '{id:0>24}', '{email}', hash_of_email('{email}'), '{{}}')"
        )
    };
    world.execute(&insert(1, "1", "john@example.com")).await;
    world.execute(&insert(2, "2", "john@example.com")).await;
    let client = connect(&world.database_url).await;
    for email in [
        "john@example.com",
        "JOHN@example.com",
        "  john@example.com ",
    ] {
        let error = client
            .batch_execute(&insert(1, "3", email))
            .await
            .expect_err("refused");
        let constraint = error
            .as_db_error()
            .and_then(|error| error.constraint())
            .expect("a constraint");
        assert_eq!(constraint, "profiles_email_hash_unique", "{email}");
    }
}

#[tokio::test]
async fn the_columns_that_operators_rely_on_are_there() {
    let world = World::new().await;
    for (table, columns) in [
        ("databases", "id, name, created_at"),
        ("resources", "id, db_id, name, channels"),
        (
            "api_tokens",
            "id, name, token_hash, all_databases, expires_at, revoked_at",
        ),
        (
            "profiles",
            "db_id, id, email, email_hash, data, request_id, created_at",
        ),
        (
            "subscriptions",
            "db_id, profile_id, resource_id, channel, address, status, priority, cats, custom_fields, created_at",
        ),
    ] {
        world
            .execute(&format!("SELECT {columns} FROM {table}"))
            .await;
    }
}

#[tokio::test]
async fn migrating_at_once_or_again_is_harmless() {
    let world = World::new().await;
    world
        .execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .await;
    let (one, two) = tokio::join!(
        migrate::run(&world.store, || {}),
        migrate::run(&world.store, || {})
    );
    let done = [one.expect("migrated"), two.expect("migrated")].concat();
    let all = [
        "0001_create_schema",
        "0002_define_fields",
        "0003_keep_suspects",
        "0004_hash_emails",
        "0005_index_email_hashes",
    ];
    assert_eq!(done, all, "once in all");
    assert!(
        migrate::run(&world.store, || {})
            .await
            .expect("migrated")
            .is_empty()
    );
}

#[tokio::test]
async fn migrating_waits_for_another_that_takes_long() {
    /// "profwork" in ASCII; operators may see it in `pg_locks`.
    const LOCK: i64 = 0x7072_6f66_776f_726b;
    let world = World::new().await;
    let another = connect(&world.database_url).await;
    another
        .execute("SELECT pg_advisory_lock($1)", &[&LOCK])
        .await
        .expect("the lock");
    let mut migrating = command();
    migrating
        .arg("migrate")
        .env("DATABASE_URL", &world.database_url)
        .stderr(Stdio::piped());
    let mut migrating = migrating.spawn().expect("a process");
    tokio::select! {
        ended = migrating.wait() => panic!("it did not wait: {ended:?}"),
        // Longer than a statement of a worker waits for a lock.
        _ = world.number("SELECT count(*) FROM pg_sleep(3)") => {}
    }
    another
        .execute("SELECT pg_advisory_unlock($1)", &[&LOCK])
        .await
        .expect("unlocked");
    let output = migrating.wait_with_output().await.expect("its end");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{said}");
    assert_eq!(
        said,
        "another process migrates this database; waiting for it\nthe schema is up to date (version 5)\n"
    );
}

#[tokio::test]
async fn a_migration_that_was_changed_afterwards_is_noticed() {
    let world = World::new().await;
    world
        .execute("UPDATE schema_migrations SET checksum = 'x'")
        .await;
    let error = migrate::run(&world.store, || {})
        .await
        .expect_err("noticed");
    assert!(error.to_string().contains("was changed"), "{error}");
}

/// Profiles of requests that nothing names, by what a test tells them apart.
struct Unnamed(IdSource);

impl Unnamed {
    fn new() -> Self {
        Self(IdSource::from_random([7; 8]))
    }

    fn profile(&self, request_id: Option<RequestId>) -> NewProfile {
        NewProfile {
            db_id: 1,
            id: self.0.next(1),
            email: None,
            data: Json::from(&Value::Null),
            request_id,
            repeatable: request_id.is_some(),
            subscriptions: Vec::new(),
            added_at: Timestamp::UNIX_EPOCH,
        }
    }
}

const REQUEST: RequestId = RequestId([1; 16]);

#[tokio::test]
async fn a_request_that_nothing_names_is_found_again_once_it_is_marked() {
    let world = World::new().await;
    let store = &world.store;
    let unnamed = Unnamed::new();
    let first = unnamed.profile(None);
    assert_eq!(
        store.insert(&[&first]).await.expect("stored"),
        [Stored::Added]
    );
    store.mark(&[(1, first.id, REQUEST)]).await.expect("marked");
    let again = unnamed.profile(Some(REQUEST));
    let before = Stored::AddedBefore {
        id: first.id,
        added_at: first.added_at,
    };
    assert_eq!(store.insert(&[&again]).await.expect("looked up"), [before]);
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 1);
}

/// One identity that is there already, or twice in the list, keeps no other row from its own.
#[tokio::test]
async fn a_mark_that_another_row_has_leaves_its_row_as_it_is() {
    let world = World::new().await;
    let store = &world.store;
    let unnamed = Unnamed::new();
    let with_email = NewProfile {
        email: Email::parse("a@example.com").ok(),
        ..unnamed.profile(None)
    };
    let named = unnamed.profile(Some(REQUEST));
    let others: Vec<_> = (0..4).map(|_| unnamed.profile(None)).collect();
    let all: Vec<_> = others.iter().chain([&with_email, &named]).collect();
    store.insert(&all).await.expect("stored");
    let new = |number| RequestId([number; 16]);
    let marks = [
        (1, others[0].id, REQUEST),
        (1, others[1].id, new(2)),
        (1, others[2].id, new(2)),
        (1, others[3].id, new(3)),
        (1, with_email.id, new(4)),
        (1, named.id, new(5)),
        (1, unnamed.profile(None).id, new(6)),
    ];
    store.mark(&marks).await.expect("marked");
    store
        .mark(&marks)
        .await
        .expect("marked again, to no effect");
    store.mark(&[]).await.expect("nothing to mark");
    let identities = world
        .texts("SELECT coalesce(encode(request_id, 'hex'), '-') FROM profiles ORDER BY id")
        .await;
    let hex = |number: u8| format!("{number:02x}").repeat(16);
    // In the order of the ids: the one with the email, the one with a name, the others.
    assert_eq!(
        identities,
        [
            "-".to_owned(),
            hex(1),
            "-".to_owned(),
            hex(2),
            "-".to_owned(),
            hex(3)
        ]
    );
}

/// The equal identity of another worker shows only when the update is at work.
#[tokio::test]
async fn marks_that_meet_in_the_middle_do_not_undo_each_other() {
    let world = World::new().await;
    let store = &world.store;
    let unnamed = Unnamed::new();
    let [one, other] = [unnamed.profile(None), unnamed.profile(None)];
    store.insert(&[&one, &other]).await.expect("stored");
    let mut somebody = connect(&world.database_url).await;
    let transaction = somebody.transaction().await.expect("a transaction");
    let mark =
        "INSERT INTO profiles (db_id, id, data, request_id) VALUES (1, repeat('0', 24), '{}', $1)";
    transaction
        .execute(mark, &[&&REQUEST.0[..]])
        .await
        .expect("an equal identity");
    let marks = [(1, one.id, REQUEST), (1, other.id, RequestId([2; 16]))];
    let marking = store.mark(&marks);
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let committing = async {
        until(async || world.number(waits).await > 0).await;
        transaction.commit().await.expect("committed");
    };
    let (marked, ()) = tokio::join!(marking, committing);
    marked.expect("marked");
    assert_eq!(
        world
            .number("SELECT count(*) FROM profiles WHERE request_id IS NULL")
            .await,
        1
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM profiles WHERE request_id IS NOT NULL")
            .await,
        2
    );
}

/// Somebody's long transaction is in the way of a migration: it waits a little and lets others
/// pass.
#[tokio::test]
async fn migrating_tries_again_where_a_table_is_in_use_and_an_index_is_half_built() {
    let mut world = World::new().await;
    world.make_older().await;
    let mut somebody = connect(&world.database_url).await;
    let transaction = somebody.transaction().await.expect("a transaction");
    transaction
        .execute("SELECT FROM profiles", &[])
        .await
        .expect("a lock");
    let committing = async {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database
                     WHERE datname = current_database())";
        until(async || world.number(waits).await > 0).await;
        until(async || world.number(waits).await == 0).await;
        transaction.commit().await.expect("committed");
    };
    let (done, ()) = tokio::join!(migrate::run(&world.store, || {}), committing);
    assert_eq!(
        done.expect("migrated"),
        ["0004_hash_emails", "0005_index_email_hashes"]
    );
    // What an interrupted build leaves.
    world
        .execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'profiles_email_hash_unique'::regclass;
             DELETE FROM schema_migrations WHERE number = 5",
        )
        .await;
    assert_eq!(
        migrate::run(&world.store, || {}).await.expect("migrated"),
        ["0005_index_email_hashes"]
    );
    let valid = "SELECT count(*) FROM pg_index WHERE indexrelid = 'profiles_email_hash_unique'::regclass AND indisvalid";
    assert_eq!(world.number(valid).await, 1);
}

/// A lane that is slow meets the change when another one knows of it already.
#[tokio::test]
async fn all_who_believe_in_the_dropped_column_look_again() {
    let world = World::new().await;
    let unnamed = Unnamed::new();
    let with_email = || NewProfile {
        email: Email::parse("a@example.com").ok(),
        ..unnamed.profile(None)
    };
    let first = with_email();
    assert_eq!(
        world.store.insert(&[&first]).await.expect("stored"),
        [Stored::Added]
    );
    // Nobody has told this one.
    let store =
        Store::new(&DatabaseUrl::parse(&world.database_url).expect("a URL"), 2).expect("a pool");
    let (one, many) = (
        with_email(),
        (0..5000).map(|_| with_email()).collect::<Vec<_>>(),
    );
    let (alone, many) = ([&one], many.iter().collect::<Vec<_>>());
    let (quick, slow) = tokio::join!(store.insert(&alone), store.insert(&many));
    assert_eq!(quick.expect("an answer"), [Stored::EmailTaken]);
    assert!(
        slow.expect("an answer")
            .iter()
            .all(|stored| *stored == Stored::EmailTaken)
    );
}
