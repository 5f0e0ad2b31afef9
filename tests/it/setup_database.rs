//! A setup of the database that is wrong: it is said at start, with the command that mends it.
//! While running it is charged to no request. What is refused for one request or one tenant alone
//! is no fault of the setup.

use profile_worker::domain::identity::RequestId;
use profile_worker::domain::token::Scope;
use profile_worker::store::pool::Store;
use profile_worker::store::url::DatabaseUrl;

use testkit::admin::{get, is_ready, observed, until_not_ready};
use testkit::client::deliveries;
use testkit::client::{Client, props};
use testkit::worker::ends_well;
use testkit::worker::{Worker, until};
use testkit::world::{World, connect};

/// All that a worker needs, as `docs/faults.md` lists it.
const LEAST: [(&str, &str); 16] = [
    ("SELECT", "schema_migrations"),
    ("SELECT", "email_rule"),
    ("SELECT", "directory_version"),
    ("SELECT", "databases"),
    ("SELECT", "resources"),
    ("SELECT", "fields"),
    ("SELECT", "api_tokens"),
    ("SELECT", "api_token_databases"),
    ("SELECT", "profiles"),
    ("INSERT", "profiles"),
    ("UPDATE (request_id)", "profiles"),
    ("INSERT", "subscriptions"),
    ("SELECT", "suspects"),
    ("INSERT", "suspects"),
    ("UPDATE", "suspects"),
    ("DELETE", "suspects"),
];

/// A role with these rights; the URL by which a worker has it.
async fn role_with(world: &World, rights: &[(&str, &str)]) -> String {
    let role = &world.name;
    world.execute(&format!("CREATE ROLE {role} LOGIN")).await;
    for (right, table) in rights {
        world
            .execute(&format!("GRANT {right} ON {table} TO {role}"))
            .await;
    }
    let mut url = url::Url::parse(&world.database_url).expect("a URL");
    url.set_username(role).expect("a user");
    url.into()
}

async fn grant(world: &World, right: &str, table: &str) {
    world
        .execute(&format!("GRANT {right} ON {table} TO {}", world.name))
        .await;
}

async fn revoke(world: &World, right: &str, table: &str) {
    world
        .execute(&format!("REVOKE {right} ON {table} FROM {}", world.name))
        .await;
}

/// A worker that does not start; its last word.
async fn refuses(world: &World, url: &str) -> String {
    let (status, said) = world.start_worker(&[("DATABASE_URL", url)]).end().await;
    assert_eq!(status.code(), Some(1), "{said}");
    said.lines().last().expect("a line").to_owned()
}

/// Makes PostgreSQL refuse profiles, with this SQLSTATE and words that quote the email.
async fn refuse_where(world: &World, condition: &str, code: &str) {
    world
        .execute(&format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF {condition} THEN RAISE 'not for %', NEW.email USING ERRCODE = '{code}'; END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON profiles FOR EACH ROW EXECUTE FUNCTION refuse()"
        ))
        .await;
}

/// With an email, and a subscription to go with it.
fn request(world: &World, name: &str) -> String {
    world.request(&format!(
        r#""data":{{"email":"{name}@example.com","subscriptions":[{{"resource_id":1,"channel":"sms","phone":"+79000000000"}}]}}"#
    ))
}

/// Publishes a request for each name, all of them before the worker sees the first.
async fn publish_at_once(world: &World, worker: &Worker, client: &Client, names: &[String]) {
    worker.signal("STOP").await;
    client
        .publish_all(
            names
                .iter()
                .map(|name| (request(world, name), client.replying(name))),
        )
        .await;
    worker.signal("CONT").await;
}

/// What the worker complained about.
fn warnings(said: &str) -> Vec<&str> {
    said.lines()
        .filter(|line| line.contains("WARN") || line.contains("ERROR"))
        .collect()
}

#[tokio::test]
async fn a_worker_with_the_least_rights_works() {
    let world = World::new().await;
    let url = role_with(&world, &LEAST).await;
    let worker = world.worker_with(&[("DATABASE_URL", &url)]).await;
    let mut client = world.client().await;
    for error in [0, 409] {
        assert_eq!(client.call(request(&world, "a")).await.error(), error);
    }
    for _ in 0..2 {
        let named = props().with_message_id("m".into());
        assert_eq!(client.call_with(world.request(""), named).await.error(), 0);
    }
    let (_, token) = world.new_token(&Scope::AllDatabases).await;
    assert_eq!(
        client
            .call(format!(r#"{{"token":"{token}","db_id":1}}"#))
            .await
            .error(),
        0,
        "a new token is loaded"
    );
    // What a worker does only after a loss.
    let store = Store::new(&DatabaseUrl::parse(&url).expect("a URL"), 1).expect("a pool");
    let suspect = RequestId([1; 16]);
    assert_eq!(store.begin_suspect(suspect).await.expect("noted"), 1);
    store.finish_suspect(suspect).await.expect("crossed out");
    store.mark(&[]).await.expect("may mark");
    let said = ends_well(worker).await;
    assert!(warnings(&said).is_empty(), "{said}");
}

#[tokio::test]
async fn each_missing_right_is_named_at_start_with_its_grant() {
    let world = World::new().await;
    let url = role_with(&world, &LEAST).await;
    for (right, table) in LEAST {
        revoke(&world, right, table).await;
        let line = refuses(&world, &url).await;
        let command = format!(r#"run: GRANT {right} ON {table} TO "{}";"#, world.name);
        assert!(line.ends_with(&command), "{line}");
        grant(&world, right, table).await;
    }
    world.worker_with(&[("DATABASE_URL", &url)]).await;
}

#[tokio::test]
async fn all_missing_rights_are_named_at_once_and_their_commands_mend_it() {
    let world = World::new().await;
    let url = role_with(&world, &[]).await;
    world
        .execute("REVOKE USAGE ON SCHEMA public FROM public")
        .await;
    world
        .execute(&format!(
            "REVOKE CONNECT ON DATABASE {} FROM public",
            world.name
        ))
        .await;
    let line = refuses(&world, &url).await;
    let connect = format!(r#"GRANT CONNECT ON DATABASE "{0}" TO "{0}";"#, world.name);
    assert!(line.ends_with(&connect), "{line}");
    world.execute(&connect).await;
    let line = refuses(&world, &url).await;
    let (_, commands) = line.split_once(" run: ").expect("commands");
    let role = &world.name;
    for command in [
        format!(r#"GRANT USAGE ON SCHEMA "public" TO "{role}";"#),
        format!(r#"GRANT SELECT, INSERT, UPDATE (request_id) ON public.profiles TO "{role}";"#),
        format!(r#"GRANT SELECT, INSERT, UPDATE, DELETE ON public.suspects TO "{role}";"#),
        format!(r#"GRANT SELECT ON public.schema_migrations TO "{role}";"#),
    ] {
        assert!(
            commands.contains(&command),
            "{command} is not in {commands}"
        );
    }
    world.execute(commands).await;
    let _worker = world.worker_with(&[("DATABASE_URL", &url)]).await;
    assert_eq!(
        world
            .client()
            .await
            .call(request(&world, "a"))
            .await
            .error(),
        0
    );
}

/// Requests go back to the queue once, nothing is taken until the right is there again, and nobody
/// is told "no".
#[tokio::test]
async fn a_right_that_is_taken_away_under_load_is_charged_to_no_request() {
    for (right, table) in [
        ("INSERT", "profiles"),
        ("INSERT", "subscriptions"),
        ("SELECT", "profiles"),
    ] {
        let world = World::new().await;
        let url = role_with(&world, &LEAST).await;
        let (worker, admin) = observed(&world, &[("DATABASE_URL", &url)]).await;
        let mut client = world.client().await;
        let mut names = Vec::new();
        let mut publish = async |client: &Client, count: usize| {
            for _ in 0..count {
                let name = format!("c{}", names.len());
                client
                    .publish(request(&world, &name).as_bytes(), client.replying(&name))
                    .await;
                names.push(name);
            }
        };
        publish(&client, 50).await;
        revoke(&world, right, table).await;
        publish(&client, 50).await;
        let command = format!(r#"GRANT {right} ON {table} TO "{}";"#, world.name);
        until_not_ready(&admin, &command).await;
        publish(&client, 50).await;
        let (_, reason) = get(&admin, "/ready").await;
        assert!(!reason.contains("away"), "{reason}");
        until(async || client.waiting(&world.request_queue()).await >= 50).await;
        // The broker itself gives back what it delivered while the subscription ended.
        assert!(deliveries(&world, &client).await <= 2);
        grant(&world, right, table).await;
        for name in &names {
            assert_eq!(client.reply(name).await.error(), 0, "{name}");
        }
        until(async || is_ready(&admin).await).await;
        assert_eq!(client.waiting(&world.dead_letter_queue()).await, 0);
        assert_eq!(
            world.number("SELECT count(*) FROM profiles").await,
            names.len() as i64
        );
        assert_eq!(
            world.number("SELECT count(*) FROM subscriptions").await,
            names.len() as i64
        );
        let said = ends_well(worker).await;
        let warnings = warnings(&said);
        assert!(
            warnings.len() == 2 && warnings[0].contains(&command),
            "{said}"
        );
        assert!(
            !said.contains("away") && said.contains("the database is back"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn ready_has_the_present_reason() {
    let world = World::new().await;
    let url = role_with(&world, &LEAST).await;
    let (worker, admin) = observed(&world, &[("DATABASE_URL", &url)]).await;
    let mut client = world.client().await;
    let mut somebody = connect(&world.database_url).await;
    let transaction = somebody.transaction().await.expect("a transaction");
    transaction
        .batch_execute("LOCK TABLE profiles IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("a lock");
    client
        .publish(request(&world, "a").as_bytes(), client.replying("a"))
        .await;
    until_not_ready(
        &admin,
        "requests are held until that is over: somebody's lock",
    )
    .await;
    // One reason takes the other's place.
    let role = &world.name;
    let revoking = format!(
        "REVOKE INSERT ON profiles FROM {role}; REVOKE INSERT ON subscriptions FROM {role}"
    );
    transaction.batch_execute(&revoking).await.expect("revoked");
    transaction.commit().await.expect("unlocked");
    let [first, second] = ["profiles", "subscriptions"]
        .map(|table| format!(r#"GRANT INSERT ON {table} TO "{role}";"#));
    until_not_ready(&admin, &format!("{first} {second}")).await;
    world.execute(&first).await;
    until(async || {
        let (_, reason) = get(&admin, "/ready").await;
        reason.contains(&second) && !reason.contains(&first)
    })
    .await;
    world.execute(&second).await;
    assert_eq!(client.reply("a").await.error(), 0);
    until(async || is_ready(&admin).await).await;
    let said = ends_well(worker).await;
    let warnings = warnings(&said);
    // The lock, both rights, parked, one right: each once.
    assert_eq!(warnings.len(), 4, "{said}");
    assert!(
        warnings[0].contains("lock") && warnings[3].contains(&second),
        "{said}"
    );
}

/// A right that the directory needs, and one that is needed after a crash only.
#[tokio::test]
async fn rights_that_no_profile_needs_are_missed_as_well() {
    let world = World::new().await;
    let url = role_with(&world, &LEAST).await;
    let (_worker, admin) = observed(&world, &[("DATABASE_URL", &url)]).await;
    let mut client = world.client().await;
    revoke(&world, "SELECT", "api_tokens").await;
    // Nobody needs it until something is new.
    let (_, token) = world.new_token(&Scope::AllDatabases).await;
    client
        .publish(
            format!(r#"{{"token":"{token}","db_id":1}}"#).as_bytes(),
            client.replying("a"),
        )
        .await;
    until_not_ready(&admin, "GRANT SELECT ON api_tokens TO").await;
    grant(&world, "SELECT", "api_tokens").await;
    assert_eq!(client.reply("a").await.error(), 0);
    until(async || is_ready(&admin).await).await;
}

/// One of each class that says nothing about waiting, as `docs/faults.md` lists them.
const DENYING: [&str; 25] = [
    "0A000", "0L000", "0P000", "21000", "22003", "23502", "23514", "24000", "27000", "28000",
    "2D000", "2F005", "34000", "38000", "39P01", "3B001", "3D000", "3F000", "42501", "42P01",
    "44000", "45000", "54000", "HV000", "XX000",
];

/// Whatever the code says, it is one request's fault where others are stored.
#[tokio::test]
async fn what_is_denied_to_one_request_is_no_fault_of_the_setup() {
    let world = World::new().await;
    let url = role_with(&world, &LEAST).await;
    world
        .execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF NEW.email LIKE 'poison%' THEN
                     RAISE 'not for %', NEW.email USING ERRCODE = substr(NEW.email, 7, 5);
                 END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON profiles FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    let (worker, admin) = observed(&world, &[("DATABASE_URL", &url)]).await;
    let mut client = world.client().await;
    let names: Vec<_> = DENYING
        .iter()
        .flat_map(|code| [format!("c{code}"), format!("poison{code}")])
        .collect();
    publish_at_once(&world, &worker, &client, &names).await;
    for name in &names {
        let expected = if name.starts_with("poison") { 500 } else { 0 };
        assert_eq!(client.reply(name).await.error(), expected, "{name}");
    }
    assert!(is_ready(&admin).await, "{}", get(&admin, "/ready").await.1);
    // They may be confirmed a moment after the replies.
    until(async || client.waiting(&world.dead_letter_queue()).await as usize == DENYING.len())
        .await;
    assert_eq!(
        world.number("SELECT count(*) FROM profiles").await as usize,
        DENYING.len()
    );
    let said = ends_well(worker).await;
    assert!(
        !said.contains("@example.com") && !said.contains("parked"),
        "{said}"
    );
}

/// A second database, and a token that opens both.
async fn second_database(world: &World) -> String {
    assert_eq!(
        world
            .store
            .create_database("two", false)
            .await
            .expect("a database"),
        2
    );
    world.new_token(&Scope::AllDatabases).await.1
}

async fn first_tenant_is_stored_and_second_refused(world: &World, url: &str) {
    let token = second_database(world).await;
    let (worker, admin) = observed(world, &[("DATABASE_URL", url)]).await;
    let mut client = world.client().await;
    // The refused one comes first: nothing was stored before that could speak for the others.
    for (db_id, error) in [(2, 500), (1, 0), (2, 500), (1, 0)] {
        let body = format!(r#"{{"token":"{token}","db_id":{db_id}}}"#);
        assert_eq!(client.call(body).await.error(), error, "{db_id}");
    }
    assert!(is_ready(&admin).await, "{}", get(&admin, "/ready").await.1);
    until(async || client.waiting(&world.dead_letter_queue()).await == 2).await;
    let said = ends_well(worker).await;
    assert!(!said.contains("parked"), "{said}");
}

#[tokio::test]
async fn a_trigger_against_one_tenant_concerns_no_other() {
    let world = World::new().await;
    refuse_where(&world, "NEW.db_id = 2", "42501").await;
    first_tenant_is_stored_and_second_refused(&world, &world.database_url).await;
}

#[tokio::test]
async fn row_level_security_against_one_tenant_concerns_no_other() {
    let world = World::new().await;
    let url = role_with(&world, &LEAST).await;
    world
        .execute(
            "ALTER TABLE profiles ENABLE ROW LEVEL SECURITY;
             CREATE POLICY all_are_seen ON profiles FOR SELECT USING (true);
             CREATE POLICY one_is_written ON profiles FOR INSERT WITH CHECK (db_id = 1)",
        )
        .await;
    first_tenant_is_stored_and_second_refused(&world, &url).await;
}

#[tokio::test]
async fn a_partition_that_is_missing_concerns_one_tenant() {
    let world = World::new().await;
    world
        .execute(
            "ALTER TABLE profiles RENAME TO plain;
             CREATE TABLE profiles (LIKE plain INCLUDING ALL) PARTITION BY LIST (db_id);
             CREATE TABLE profiles_1 PARTITION OF profiles FOR VALUES IN (1)",
        )
        .await;
    first_tenant_is_stored_and_second_refused(&world, &world.database_url).await;
}

/// Held by a lane, or not even taken: nothing is dead-lettered, and the true reason is there.
#[tokio::test]
async fn what_is_denied_to_all_is_a_fault_of_the_setup() {
    for (breaking, mending, reason) in [
        (
            "",
            "DROP TRIGGER refuse ON profiles",
            "not even an empty one: PostgreSQL fails",
        ),
        (
            "ALTER TABLE profiles ADD COLUMN tenant text; ALTER TABLE profiles ALTER COLUMN tenant SET NOT NULL",
            "ALTER TABLE profiles ALTER COLUMN tenant SET DEFAULT ''",
            r#"the column "tenant" of "profiles" must not be null"#,
        ),
        (
            "DROP INDEX profiles_email_hash_unique",
            "CREATE UNIQUE INDEX profiles_email_hash_unique ON profiles (db_id, email_hash) WHERE email_hash IS NOT NULL",
            "no unique or exclusion constraint",
        ),
        (
            "ALTER TABLE subscriptions RENAME TO gone",
            "ALTER TABLE gone RENAME TO subscriptions",
            "subscriptions; run",
        ),
    ] {
        let world = World::new().await;
        let (worker, admin) = observed(&world, &[]).await;
        let mut client = world.client().await;
        if breaking.is_empty() {
            refuse_where(&world, "true", "0A000").await;
        } else {
            world.execute(breaking).await;
        }
        let names: Vec<_> = (0..20).map(|i| format!("c{i}")).collect();
        publish_at_once(&world, &worker, &client, &names).await;
        until_not_ready(&admin, reason).await;
        until(async || client.waiting(&world.request_queue()).await == 20).await;
        assert!(deliveries(&world, &client).await <= 2);
        let line = refuses(&world, &world.database_url).await;
        assert!(
            line.contains(reason) && !line.contains("@example.com"),
            "{line}"
        );
        world.execute(mending).await;
        for name in &names {
            assert_eq!(client.reply(name).await.error(), 0, "{reason}: {name}");
        }
        assert_eq!(client.waiting(&world.dead_letter_queue()).await, 0);
        let said = ends_well(worker).await;
        assert!(
            warnings(&said).len() == 2 && !said.contains("away") && !said.contains("@example.com"),
            "{said}"
        );
    }
}

/// What may pass is waited for, and not by other lanes.
#[tokio::test]
async fn what_a_server_can_not_do_for_one_request_holds_up_no_other_lane() {
    let world = World::new().await;
    refuse_where(&world, "NEW.email LIKE 'waits%'", "53100").await;
    let (mut worker, admin) = observed(&world, &[]).await;
    let mut client = world.client().await;
    client
        .publish(
            request(&world, "waits").as_bytes(),
            client.replying("waits"),
        )
        .await;
    worker.until_said("requests wait in the database").await;
    for i in 0..20 {
        assert_eq!(
            client.call(request(&world, &format!("c{i}"))).await.error(),
            0
        );
    }
    assert!(is_ready(&admin).await, "{}", get(&admin, "/ready").await.1);
    world.execute("DROP TRIGGER refuse ON profiles").await;
    assert_eq!(client.reply("waits").await.error(), 0);
}

/// The SQLSTATE of a missing feature, which a new connection does not miss.
#[tokio::test]
async fn a_table_that_is_altered_under_prepared_statements_is_no_fault() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    assert_eq!(client.call(request(&world, "a")).await.error(), 0);
    for kind in ["timestamptz(3)", "timestamptz", "timestamptz(3)"] {
        // So that the statement that looks at rows is prepared.
        assert_eq!(client.call(request(&world, "a")).await.error(), 409);
        world
            .execute(&format!(
                "ALTER TABLE profiles ALTER COLUMN created_at TYPE {kind}"
            ))
            .await;
        assert_eq!(client.call(request(&world, "a")).await.error(), 409);
    }
    ends_well(worker).await;
}
