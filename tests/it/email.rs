//! One email is one email, whatever the locale of the database and however it is written.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::commands::{fail, out, run, succeed};
use testkit::servers::Servers;
use testkit::world::{World, connect};

/// Locales that fold letters in three ways: not at all beyond ASCII, as most do, and as Turkish
/// does.
pub(crate) const LOCALES: [&str; 3] = [
    "TEMPLATE template0 LOCALE 'C'",
    "TEMPLATE template0 LOCALE 'C.UTF-8'",
    "TEMPLATE template0 LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR'",
];

/// The table of addresses: each with its canonical form, or none if it is refused.
fn table() -> Vec<(String, Option<String>)> {
    let rows = include_str!("../fixtures/emails.tsv")
        .lines()
        .filter(|row| !row.starts_with("# "));
    let row = |row: &str| {
        let mut cells = row.split('\t').map(unescaped);
        let (address, verdict) = (
            cells.next().expect("an address"),
            cells.next().expect("a verdict"),
        );
        (
            address,
            Some(verdict).filter(|verdict| !verdict.starts_with("refused: ")),
        )
    };
    rows.map(row).collect()
}

/// `\u{…}` and `\\`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        match part
            .strip_prefix("u{")
            .and_then(|part| part.split_once('}'))
        {
            Some((hex, rest)) => {
                let number = u32::from_str_radix(hex, 16).expect("a number");
                plain.push(char::from_u32(number).expect("a character"));
                plain.push_str(rest);
            }
            None => {
                plain.push('\\');
                plain.push_str(parts.next().unwrap_or_default());
            }
        }
    }
    plain
}

/// The table as one request, and the errors that it must have. Of several spellings the first is
/// added.
fn request_and_errors(world: &World) -> (String, Vec<i64>) {
    let mut seen = HashSet::new();
    let (mut profiles, mut errors) = (Vec::new(), Vec::new());
    for (address, canonical) in table() {
        // Nothing in it: a profile without an email.
        let is_blank = address
            .chars()
            .all(|c| c == ' ' || c == '\u{200b}' || c == '\u{feff}');
        errors.push(match canonical {
            _ if is_blank => 0,
            None => 400,
            Some(canonical) if seen.insert(canonical.clone()) => 0,
            Some(_) => 409,
        });
        profiles.push(json!({"email": address}));
    }
    (
        world.request(&format!(r#""data":{}"#, Value::Array(profiles))),
        errors,
    )
}

#[tokio::test]
async fn the_table_of_addresses_has_the_same_verdicts_in_every_locale() {
    for locale in LOCALES {
        let world = World::with(Servers::shared(), locale).await;
        let _worker = world.worker().await;
        let mut client = world.client().await;
        let (request, errors) = request_and_errors(&world);
        let reply = client.call(&request).await.json();
        let answered = reply["result"].as_array().expect("results");
        assert_eq!(answered.len(), errors.len());
        for (((address, _), answer), error) in table().iter().zip(answered).zip(&errors) {
            assert_eq!(answer["error"], *error, "{locale}: {address:?}: {answer}");
        }
        // Sent again as another request, every address of it is taken.
        let again = client.call(request).await.json();
        for (((address, canonical), answer), error) in table()
            .iter()
            .zip(again["result"].as_array().expect("results"))
            .zip(errors)
        {
            let taken = canonical.is_some() && error != 400;
            assert!(
                !taken || answer["error"] == 409,
                "{locale}: {address:?}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn two_spellings_of_one_address_are_one_subscription() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    for (one, other) in [
        ("x@пример.рф", "X@xn--e1afmkfd.xn--p1ai"),
        ("straße@example.de", "STRASSE@example.de"),
        ("jürgen@example.de", "ju\u{308}rgen@example.de"),
    ] {
        let subscription =
            |email: &str| json!({"resource_id": 1, "channel": "email", "email": email});
        let both = json!([subscription(one), subscription(other)]);
        let reply = client
            .call(world.request(&format!(r#""data":{{"subscriptions":{both}}}"#)))
            .await
            .json();
        assert_eq!(reply["error"], 400, "{one}");
        let text =
            "data.subscriptions[1]: the same resource, channel and address as an earlier one";
        assert_eq!(reply["error_text"], text);
    }
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 0);
}

#[tokio::test]
async fn what_is_stored_and_told_is_what_was_given_composed() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let events = client.listen_for_events(&world, "#").await;
    let email = "\u{200b}Ju\u{308}rgen@MÜNCHEN.de ";
    assert_eq!(
        client
            .call(world.request(&format!(r#""data":{{"email":"{email}"}}"#)))
            .await
            .error(),
        0
    );
    assert_eq!(
        world.texts("SELECT email FROM profiles").await,
        ["Jürgen@MÜNCHEN.de"]
    );
    assert_eq!(
        client.take(&events).await.json()["email"],
        "Jürgen@MÜNCHEN.de"
    );
    let taken = client
        .call(world.request(r#""data":{"email":"jürgen@xn--mnchen-3ya.DE"}"#))
        .await
        .json();
    assert_eq!(
        taken["error_text"],
        "another profile of this database has the email jürgen@xn--mnchen-3ya.DE"
    );
}

#[tokio::test]
async fn an_operator_can_look_a_profile_up_by_its_email() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let id = client
        .call(world.request(r#""data":{"email":"John@Example.com"}"#))
        .await
        .profile_id();
    let look = "SELECT id FROM profiles WHERE db_id = 1 AND email_hash = ";
    assert_eq!(
        world
            .texts(&format!("{look} hash_of_email(' JOHN@example.com')"))
            .await,
        [id.as_str()]
    );
    let words = out(&run(&world, &["email", "hash", "JOHN@example.com"]).await);
    let hash = words
        .lines()
        .last()
        .expect("a hash")
        .rsplit(' ')
        .next()
        .expect("a hash");
    assert_eq!(world.texts(&format!("{look} '{hash}'")).await, [id]);
    for unknown in [
        "иван@example.com",
        "x@xn--e1afmkfd.xn--p1ai",
        "x@XN--e1afmkfd.xn--p1ai",
    ] {
        let sql =
            format!("SELECT count(*) FROM (SELECT hash_of_email('{unknown}') h) s WHERE h IS NULL");
        assert_eq!(
            world.number(&sql).await,
            1,
            "only the worker knows {unknown}"
        );
    }
}

#[tokio::test]
async fn an_email_that_is_changed_by_hand_takes_its_hash_along() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let id = client
        .call(world.request(r#""data":{"email":"a@example.com"}"#))
        .await
        .profile_id();
    client
        .call(world.request(r#""data":{"email":"taken@example.com"}"#))
        .await;
    let database = connect(&world.database_url).await;
    let change = format!("UPDATE profiles SET email = 'b@example.com' WHERE id = '{id}'");
    let error = database
        .batch_execute(&change)
        .await
        .expect_err("it would keep the hash of another");
    assert!(
        error
            .as_db_error()
            .expect("its words")
            .hint()
            .expect("a hint")
            .contains("profile-worker email set")
    );
    world
        .execute(&format!(
            "UPDATE profiles SET email = 'A@example.com' WHERE id = '{id}'"
        ))
        .await;
    let bare = "INSERT INTO profiles (db_id, id, email, data) VALUES (1, repeat('1', 24), 'bare@example.com', '{}')";
    database
        .batch_execute(bare)
        .await
        .expect_err("a profile with an email and no hash");

    let set = async |email: &str| succeed(&world, &["email", "set", "--db", "1", &id, email]).await;
    set("b@example.com").await;
    let email_of = |email: &str| world.request(&format!(r#""data":{{"email":"{email}"}}"#));
    assert_eq!(client.call(email_of("B@example.com")).await.error(), 409);
    assert_eq!(
        client.call(email_of("a@example.com")).await.error(),
        0,
        "it is free again"
    );
    let words = fail(
        &world,
        &["email", "set", "--db", "1", &id, "TAKEN@example.com"],
    )
    .await;
    assert_eq!(
        words,
        "profile-worker: another profile of database 1 has this email\n"
    );
    let words = fail(&world, &["email", "set", "--db", "2", &id, "c@example.com"]).await;
    assert!(
        words.contains(&format!("database 2 has no profile {id}")),
        "{words}"
    );
    let words = fail(
        &world,
        &["email", "set", "--db", "1", &id, "c\u{200b}@example.com"],
    )
    .await;
    assert_eq!(
        words,
        "profile-worker: has an invisible character U+200B at position 2\n"
    );
    set("").await;
    assert_eq!(
        client.call(email_of("b@example.com")).await.error(),
        0,
        "it has none"
    );
}
