//! From the key that the database made to the hash that the worker makes: expand, fill, contract,
//! with workers of both versions.

use std::process::Stdio;

use crate::commands::{err, fail, out, run, succeed};
use testkit::worker::{command, until};
use testkit::world::{World, connect};

/// What a worker from before the hash stores by.
const OLDER_INSERT: &str = "INSERT INTO profiles (db_id, id, email, data) VALUES ($1, $2, $3, '{}')
                            ON CONFLICT (db_id, email_key) DO NOTHING";

/// Stores profiles of database 1 as an older worker does; how many it added.
async fn store_as_older(world: &World, first: u32, emails: &[&str]) -> u64 {
    let client = connect(&world.database_url).await;
    let mut added = 0;
    for (number, email) in (first..).zip(emails) {
        let id = format!("{number:024x}");
        added += client
            .execute(OLDER_INSERT, &[&1_i64, &id, email])
            .await
            .expect("stored");
    }
    added
}

fn with_email(world: &World, email: &str) -> String {
    world.request(&format!(r#""data":{{"email":"{email}"}}"#))
}

async fn migrate(world: &World) -> String {
    let output = run(world, &["migrate"]).await;
    assert!(output.status.success(), "{}", err(&output));
    err(&output)
}

async fn fill(world: &World) -> String {
    let output = run(world, &["email", "fill"]).await;
    assert!(output.status.success(), "{}", err(&output));
    err(&output)
}

#[tokio::test]
async fn workers_of_both_versions_see_each_others_emails_until_it_is_contracted() {
    let mut world = World::new().await;
    world.make_older().await;
    assert_eq!(
        store_as_older(&world, 1, &["Old@example.com", "older@пример.рф"]).await,
        2
    );
    let words = migrate(&world).await;
    assert!(
        words.ends_with("then `profile-worker email contract`\n"),
        "{words}"
    );
    let mut worker = world.worker().await;
    let mut client = world.client().await;

    // By the key of the older one, as the row has no hash yet.
    assert_eq!(
        client
            .call(with_email(&world, "OLD@example.com"))
            .await
            .error(),
        409
    );
    assert_eq!(
        client
            .call(with_email(&world, "new@example.com"))
            .await
            .error(),
        0
    );
    assert_eq!(
        store_as_older(&world, 10, &["NEW@example.com", "between@example.com"]).await,
        1
    );
    let both = r#""data":[{"email":"Between@example.com"},{"email":"Two@example.com"},{},{"email":"two@example.com"}]"#;
    let reply = client.call(world.request(both)).await.json();
    let errors: Vec<_> = reply["result"]
        .as_array()
        .expect("results")
        .iter()
        .map(|each| each["error"].as_i64())
        .collect();
    assert_eq!(errors, [Some(409), Some(0), Some(0), Some(409)]);
    // By the hash, once it is there.
    assert_eq!(
        fill(&world).await,
        "6 profiles: 3 filled in, 0 in conflict\n"
    );
    assert_eq!(
        client
            .call(with_email(&world, "older@xn--e1afmkfd.xn--p1ai"))
            .await
            .error(),
        409
    );

    let another = connect(&format!(
        "{}?application_name=profile-worker",
        world.database_url
    ))
    .await;
    let words = fail(&world, &["email", "contract"]).await;
    assert!(words.contains("an older worker is connected"), "{words}");
    drop(another);
    let none = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'profile-worker'";
    until(async || world.number(none).await == 0).await;
    store_as_older(&world, 20, &["late@example.com"]).await;
    let words = fail(&world, &["email", "contract"]).await;
    assert!(
        words.contains("1 profiles have no email_hash yet"),
        "{words}"
    );
    fill(&world).await;
    succeed(&world, &["email", "contract"]).await;
    assert_eq!(
        err(&run(&world, &["email", "contract"]).await),
        "nothing to do: that was done before\n"
    );

    // The same worker goes on, with what it had prepared before.
    for (email, error) in [
        ("LATE@example.com", 409),
        ("after@example.com", 0),
        ("After@example.com", 409),
    ] {
        assert_eq!(
            client.call(with_email(&world, email)).await.error(),
            error,
            "{email}"
        );
    }
    let reply = client
        .call(world.request(r#""data":[{"email":"B@example.com"},{},{"email":"b@example.com"}]"#))
        .await;
    assert_eq!(reply.json()["result"][2]["error"], 409);
    assert!(!worker.has_ended());
    // An older one can store nothing, and says so by a code that it takes for a fault of the setup.
    let older = connect(&world.database_url).await;
    let error = older
        .execute(OLDER_INSERT, &[&1_i64, &"0".repeat(24), &"x@example.com"])
        .await
        .expect_err("no column");
    assert_eq!(error.code().expect("a code").code(), "42703");
    let holds = "SELECT count(*) FROM pg_constraint WHERE conname = 'profiles_email_hashed' AND convalidated";
    assert_eq!(world.number(holds).await, 1);
    assert!(
        migrate(&world)
            .await
            .starts_with("the schema is up to date")
    );
    worker.signal("TERM").await;
    worker.until_said("finished").await;
}

/// A worker that was told nothing meets the change in the middle of a statement.
#[tokio::test]
async fn a_worker_that_has_not_heard_of_the_change_goes_on() {
    let mut world = World::new().await;
    world.make_older().await;
    migrate(&world).await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    assert_eq!(
        client
            .call(with_email(&world, "a@example.com"))
            .await
            .error(),
        0
    );
    assert_eq!(
        client
            .call(with_email(&world, "A@example.com"))
            .await
            .error(),
        409
    );
    // By hand, so that nobody is told; all lanes meet it at once.
    world
        .execute("ALTER TABLE profiles DROP COLUMN email_key")
        .await;
    let names: Vec<_> = (0..40).map(|i| format!("at-once-{i}")).collect();
    let requests = names
        .iter()
        .map(|name| (with_email(&world, "A@example.com"), client.replying(name)));
    client.publish_all(requests.collect::<Vec<_>>()).await;
    for name in &names {
        assert_eq!(client.reply(name).await.error(), 409, "{name}");
    }
    assert_eq!(
        client
            .call(with_email(&world, "A@example.com"))
            .await
            .error(),
        409
    );
    assert_eq!(
        client
            .call(with_email(&world, "b@example.com"))
            .await
            .error(),
        0
    );
}

#[tokio::test]
async fn profiles_that_collide_under_the_rule_are_kept_and_listed() {
    let mut world = World::new().await;
    world.make_older().await;
    let emails = [
        "x@пример.рф",
        "X@xn--e1afmkfd.xn--p1ai",
        "x@example.com?subject=hi",
        "fine@example.com",
    ];
    assert_eq!(store_as_older(&world, 1, &emails).await, 4);
    migrate(&world).await;
    assert_eq!(
        fill(&world).await,
        "4 profiles: 2 filled in, 2 in conflict\n`profile-worker email check` lists the conflicts\n"
    );
    assert_eq!(
        fill(&world).await,
        "4 profiles: 0 filled in, 0 in conflict\n"
    );
    succeed(&world, &["email", "contract"]).await;
    let listed = succeed(&world, &["email", "check", "--json"]).await;
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let id = |number: u32| format!("{number:024x}");
    assert_eq!(
        listed,
        serde_json::json!([
            {"db_id": 1, "profile_id": id(2), "email": "X@xn--e1afmkfd.xn--p1ai",
             "reason": "another profile has this email", "other_profile_id": id(1), "other_email": "x@пример.рф"},
            {"db_id": 1, "profile_id": id(3), "email": "x@example.com?subject=hi",
             "reason": "not an email address: after the @ must be a domain name, such as example.com",
             "other_profile_id": null, "other_email": null},
        ])
    );
    assert!(
        succeed(&world, &["email", "check"])
            .await
            .contains("another profile has this email")
    );

    // One is removed, the other one corrected: then nothing is left.
    world
        .execute(&format!("DELETE FROM profiles WHERE id = '{}'", id(1)))
        .await;
    succeed(
        &world,
        &["email", "set", "--db", "1", &id(3), "x@example.com"],
    )
    .await;
    assert_eq!(
        fill(&world).await,
        "3 profiles: 1 filled in, 0 in conflict\n"
    );
    assert_eq!(
        err(&run(&world, &["email", "check"]).await),
        "no conflicts\n"
    );
    let _worker = world.worker().await;
    let mut client = world.client().await;
    for email in ["x@пример.рф", "x@example.com", "fine@example.com"] {
        assert_eq!(
            client.call(with_email(&world, email)).await.error(),
            409,
            "{email}"
        );
    }
}

#[tokio::test]
async fn to_fill_goes_on_where_it_was_killed_and_two_do_not_meet() {
    const COUNT: i64 = 30_000;
    let mut world = World::new().await;
    world.make_older().await;
    world
        .execute(&format!(
            "INSERT INTO profiles (db_id, id, email, data)
             SELECT 1, lpad(to_hex(i), 24, '0'), 'p' || i || '@example.com', '{{}}' FROM generate_series(1, {COUNT}) i"
        ))
        .await;
    migrate(&world).await;
    let filled = "SELECT count(*) FROM profiles WHERE email_hash IS NOT NULL";
    let mut filling = command();
    filling
        .args(["email", "fill"])
        .envs(world.settings())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut filling = filling.spawn().expect("a process");
    until(async || world.number(filled).await > 0).await;
    let busy = fail(&world, &["email", "fill"]).await;
    assert!(busy.contains("another process is filling in"), "{busy}");
    filling.kill().await.expect("killed");
    // PostgreSQL notices a moment later that nobody is there any more.
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until(async || world.number(locks).await == 0).await;
    let before = world.number(filled).await;
    assert!((1..COUNT).contains(&before), "{before}");
    let words = err(&run(&world, &["email", "fill", "--full-speed"]).await);
    assert_eq!(
        words,
        format!(
            "{COUNT} profiles: {} filled in, 0 in conflict\n",
            COUNT - before
        )
    );
    assert_eq!(world.number(filled).await, COUNT);
    let wrong =
        "SELECT count(*) FROM profiles WHERE email_hash IS DISTINCT FROM hash_of_email(email)";
    assert_eq!(world.number(wrong).await, 0);
}

/// A row that somebody has locked holds up its part, which is tried again.
#[tokio::test]
async fn to_fill_waits_for_a_lock_and_takes_part_in_no_quarrel() {
    let mut world = World::new().await;
    world.make_older().await;
    store_as_older(&world, 1, &["a@example.com", "b@example.com"]).await;
    migrate(&world).await;
    let mut somebody = connect(&world.database_url).await;
    let transaction = somebody.transaction().await.expect("a transaction");
    transaction
        .execute(
            "SELECT 1 FROM profiles WHERE email LIKE 'b%' FOR UPDATE",
            &[],
        )
        .await
        .expect("a lock");
    let unlocking = async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        until(async || world.number(waits).await > 0).await;
        until(async || world.number(waits).await == 0).await;
        transaction.commit().await.expect("unlocked");
    };
    let (words, ()) = tokio::join!(fill(&world), unlocking);
    assert_eq!(words, "2 profiles: 2 filled in, 0 in conflict\n");
}

/// As if the database had been filled by a version with another Unicode.
#[tokio::test]
async fn another_rule_is_noticed_at_start_and_hashes_are_made_anew() {
    let world = World::new().await;
    let mut worker = world.worker().await;
    let mut client = world.client().await;
    for email in [
        "ascii@example.com",
        "jürgen@example.de",
        "x@xn--e1afmkfd.xn--p1ai",
    ] {
        assert_eq!(client.call(with_email(&world, email)).await.error(), 0);
    }
    world
        .execute("UPDATE email_rule SET unicode = '7.0', checksum = sha256('')")
        .await;
    world
        .execute("UPDATE profiles SET email_hash = gen_random_uuid() WHERE email NOT LIKE 'ascii%'")
        .await;
    let words = fail(&world, &["email", "fill"]).await;
    assert!(words.contains("stop all workers first"), "{words}");
    worker.signal("TERM").await;
    worker.until_said("finished").await;
    drop(worker);
    let (status, words) = world.start_worker(&[]).end().await;
    assert_eq!(status.code(), Some(1));
    assert!(
        words.contains("told apart by another rule (Unicode 7.0)"),
        "{words}"
    );
    let none = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'profile-worker/%'";
    // The sessions of this test itself, which it made its tables by.
    world
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
                   AND application_name LIKE 'profile-worker/%'",
        )
        .await;
    until(async || world.number(none).await == 0).await;
    let words = fill(&world).await;
    assert!(
        words.ends_with("3 profiles: 2 filled in, 0 in conflict\n"),
        "{words}"
    );
    let _worker = world.worker().await;
    for email in ["JÜRGEN@example.de", "x@пример.рф", "ascii@example.com"] {
        assert_eq!(
            client.call(with_email(&world, email)).await.error(),
            409,
            "{email}"
        );
    }
    assert!(out(&run(&world, &["email", "check", "--json"]).await).starts_with("[]"));
}

/// A partitioned table has no index that is built concurrently.
#[tokio::test]
async fn partitions_are_brought_under_the_rule_as_well() {
    let mut world = World::new().await;
    world.make_older().await;
    world
        .execute(
            "ALTER TABLE profiles RENAME TO profiles_default;
             CREATE TABLE profiles (LIKE profiles_default INCLUDING ALL) PARTITION BY LIST (db_id);
             ALTER TABLE profiles ATTACH PARTITION profiles_default DEFAULT;
             CREATE TABLE profiles_db_1 PARTITION OF profiles FOR VALUES IN (1)",
        )
        .await;
    assert_eq!(
        store_as_older(&world, 1, &["a@пример.рф", "b@example.com"]).await,
        2
    );
    // As docs/scaling.md has it for large ones.
    world
        .execute("ALTER TABLE profiles ADD COLUMN email_hash uuid")
        .await;
    for partition in ["profiles_db_1", "profiles_default"] {
        world
            .execute(&format!(
                "CREATE UNIQUE INDEX CONCURRENTLY ON {partition} (db_id, email_hash) WHERE email_hash IS NOT NULL"
            ))
            .await;
    }
    migrate(&world).await;
    let indexes = "SELECT count(*) FROM pg_indexes WHERE tablename LIKE 'profiles_d%' AND indexdef LIKE '%email_hash)%'";
    assert_eq!(
        world.number(indexes).await,
        2,
        "those that were there are used"
    );
    let _worker = world.worker().await;
    let mut client = world.client().await;
    assert_eq!(
        client
            .call(with_email(&world, "B@example.com"))
            .await
            .error(),
        409
    );
    assert_eq!(
        fill(&world).await,
        "2 profiles: 2 filled in, 0 in conflict\n"
    );
    succeed(&world, &["email", "contract"]).await;
    for (email, error) in [
        ("A@xn--e1afmkfd.xn--p1ai", 409),
        ("c@example.com", 0),
        ("C@example.com", 409),
    ] {
        assert_eq!(
            client.call(with_email(&world, email)).await.error(),
            error,
            "{email}"
        );
    }
}
