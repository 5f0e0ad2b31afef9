//! A dump of a database restores into another one, whatever the locale of either.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::commands::{run, succeed};
use crate::email::LOCALES;
use testkit::servers::{PrivateServers, root};
use testkit::world::World;

/// The path of a program of PostgreSQL, of the version that `scripts/servers` starts.
fn program(name: &str) -> String {
    let find = format!(". scripts/lib/servers.sh && find_postgres {name}");
    let output = Command::new("bash")
        .args(["-c", &find])
        .current_dir(root())
        .output()
        .expect("bash can be run");
    String::from_utf8(output.stdout)
        .expect("a path")
        .trim()
        .to_owned()
}

/// Runs `pg_dump` or `psql`; what it prints. It must print no error.
fn client(name: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program(name));
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    let mut stdin = child.stdin.take().expect("its input");
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("its end");
    writing.join().expect("no panic").ok();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && words.is_empty(),
        "{name} {arguments:?}: {words}"
    );
    output.stdout
}

fn dump(world: &World, options: &[&str]) -> Vec<u8> {
    client(
        "pg_dump",
        &[options, &[world.database_url.as_str()]].concat(),
        b"",
    )
}

fn restore(world: &World, sql: &[u8]) {
    client(
        "psql",
        &[
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-o",
            "/dev/null",
            &world.database_url,
        ],
        sql,
    );
}

/// What docs/email.md tells to leave out of a dump of the data alone.
const DATA_ALONE: [&str; 3] = [
    "--data-only",
    "--exclude-table-data=*.schema_migrations",
    "--exclude-table-data=*.directory_version",
];

/// All profiles, by what tells them apart.
async fn profiles(world: &World) -> Vec<String> {
    world.texts("SELECT id || coalesce(email, '-') || coalesce(email_hash::text, '-') FROM profiles ORDER BY id").await
}

#[tokio::test]
#[ignore = "long: `make test-long`"]
async fn restart_a_dump_restores_into_every_locale() {
    let private = PrivateServers::start("dumps");
    let new_world = async |locale| World::with(private.servers.clone(), locale).await;
    for (place, from) in LOCALES.into_iter().enumerate() {
        let mut source = new_world(from).await;
        // Profiles of a worker from before the hash, two of which are one.
        source.make_older().await;
        for (id, email) in [
            (1, "x@пример.рф"),
            (2, "x@xn--e1afmkfd.xn--p1ai"),
            (3, "x@a?b"),
            (4, "INFO@example.com.tr"),
        ] {
            let sql = format!(
                "INSERT INTO profiles (db_id, id, email, data) VALUES (1, '{id:024}', '{email}', '{{}}')"
            );
            source.execute(&sql).await;
        }
        assert!(run(&source, &["migrate"]).await.status.success());
        succeed(&source, &["email", "fill"]).await;
        succeed(&source, &["email", "contract"]).await;
        let worker = source.worker().await;
        let mut client = source.client().await;
        for email in ["ИВАН@example.ru", "jürgen@example.de"] {
            let body = source.request(&format!(
                r#""data":{{"email":"{email}","subscriptions":[{SUBSCRIPTION}]}}"#
            ));
            assert_eq!(client.call(body).await.error(), 0);
        }
        drop(worker);
        let stored = profiles(&source).await;
        let whole = dump(&source, &[]);
        let schema = dump(&source, &["--schema-only"]);
        let data_with_schema = dump(&source, &["--data-only"]);
        let data = dump(&source, &DATA_ALONE);
        let whole = LOCALES.map(|to| ("whole", to, vec![&whole]));
        // Into one other locale: what could differ is the same.
        let next = LOCALES[(place + 1) % LOCALES.len()];
        let parts = [
            (
                "schema and data apart",
                next,
                vec![&schema, &data_with_schema],
            ),
            ("data alone", next, vec![&data]),
        ];
        for (case, to, parts) in whole.into_iter().chain(parts) {
            let mut target = new_world(to).await;
            target
                .execute(if case == "data alone" {
                    LIKE_NEW
                } else {
                    EMPTY
                })
                .await;
            for part in parts {
                restore(&target, part);
            }
            assert_eq!(
                profiles(&target).await,
                stored,
                "{case}, from {from} to {to}"
            );
            target.token.clone_from(&source.token);
            works(&target, case).await;
        }
    }
}

const SUBSCRIPTION: &str = r#"{"resource_id":1,"channel":"email","email":"x@example.com"}"#;

const EMPTY: &str = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";

/// As `migrate` has left it, and then what docs/email.md says.
const LIKE_NEW: &str =
    "TRUNCATE databases, resources, fields, api_tokens, api_token_databases RESTART IDENTITY;
                        DELETE FROM email_rule";

/// A worker begins, knows who may do what, and tells emails apart as before.
async fn works(world: &World, case: &str) {
    let _worker = world.worker().await;
    let mut client = world.client().await;
    for (email, error) in [
        ("info@example.com.tr", 409),
        ("иван@example.ru", 409),
        ("x@пример.рф", 409),
        ("new@example.com", 0),
    ] {
        let reply = client
            .call(world.request(&format!(r#""data":{{"email":"{email}"}}"#)))
            .await;
        assert_eq!(reply.error(), error, "{case}: {email}");
    }
}
