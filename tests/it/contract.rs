//! Request and reply, as the file pairs in `tests/fixtures` have them, and what stands in the
//! database afterwards.

use std::path::Path;

use profile_worker::domain::token::Scope;
use serde_json::Value;

use crate::client::{Client, Message, props};
use crate::world::World;

#[tokio::test]
async fn every_fixture_gets_its_reply() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let (_, token_for_all) = world.new_token(&Scope::AllDatabases).await;
    let cases = cases();
    assert!(cases.len() >= 15, "only {} cases", cases.len());
    for case in &cases {
        let request = read(case, "request").replace("<token for all databases>", &token_for_all);
        let reply = client.call(request.replace("<token>", &world.token)).await;
        let expected: Value = serde_json::from_str(&read(case, "reply")).expect("a JSON reply");
        assert_eq!(with_placeholder(&reply), expected, "{case}");
    }
    the_right_rows_are_there(&world).await;
}

fn cases() -> Vec<String> {
    let files = std::fs::read_dir(fixtures()).expect("the fixtures");
    let names = files.map(|file| file.expect("a file").file_name().into_string().expect("a name"));
    let mut cases: Vec<_> = names.filter_map(|name| Some(name.strip_suffix(".request.json")?.to_owned())).collect();
    cases.sort();
    cases
}

fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))
}

fn read(case: &str, what: &str) -> String {
    let path = fixtures().join(format!("{case}.{what}.json"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The reply with its profile id replaced, if that has the right form.
fn with_placeholder(reply: &Message) -> Value {
    let mut json = reply.json();
    if let Some(id) = json.get_mut("profile_id") {
        let text = id.as_str().expect("a string");
        let digits = text.len() == 24 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        assert!(digits, "{text}");
        *id = "<profile_id>".into();
    }
    json
}

async fn the_right_rows_are_there(world: &World) {
    let profiles = world.texts("SELECT coalesce(email, '-') || ' ' || data FROM profiles ORDER BY id").await;
    assert_eq!(
        profiles,
        [
            r#"- {"_fname": "Fillipp", "_lname": "Doe"}"#,
            "- {}",
            &format!(
                r#"john@example.com {{{}}}"#,
                concat!(
                    r#""_ip": "192.0.2.1", "_os": "Linux", "_tz": "Europe/Berlin", "_sex": "male", "_city": "Berlin", "#,
                    r#""_bdate": "1980-02-29", "_fname": "John", "_lname": "Doe", "_regip": "2001:db8::1", "#,
                    r#""phones": ["+79000000000"], "_region": "Berlin", "_regurl": "https://example.com/signup", "#,
                    r#""_status": "subscribed", "_vendor": "Lenovo", "loyalty": {"tags": ["a", "b"], "level": 3, "points": 12.50}, "#,
                    r#""_browser": "Firefox", "_country": "DE", "_regcity": "Rome", "_regdate": "2026-11-23T10:00:00+01:00", "#,
                    r#""_regcountry": "IT", "_postal_code": 10115"#
                )
            ),
            "jane@example.com {}",
            "joan@example.com {}",
        ]
    );
    let subscriptions = world
        .texts(
            "SELECT concat_ws(' ', email, resource_id, channel, address, status, s.priority, cats, custom_fields)
             FROM subscriptions s JOIN profiles p ON p.db_id = s.db_id AND p.id = s.profile_id
             ORDER BY p.id, position",
        )
        .await;
    assert_eq!(
        subscriptions,
        [
            r#"jane@example.com 1 email jane@example.com subscribed 1 ["news"]"#,
            "jane@example.com 1 sms +79000000000 unconfirmed",
            "jane@example.com 1 push android-firebase:dev-1 subscribed",
            "jane@example.com 1 telegram_bot 123456 subscribed",
            "jane@example.com 1 whatsapp +79000000000 subscribed",
            "jane@example.com 1 viber +79000000000 subscribed",
            r#"jane@example.com 1 notify +79000000000 subscribed {"a": 1}"#,
            "joan@example.com 1 email joan@example.com subscribed",
        ]
    );
}

/// `profile_id` as it is in the reply is the id in the table, in the ObjectId layout.
#[tokio::test]
async fn the_profile_id_names_the_row() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let reply = client.call(world.request("")).await;
    let id = reply.profile_id();
    assert_eq!(world.texts("SELECT id FROM profiles").await, std::slice::from_ref(&id));
    let seconds = i64::from_str_radix(&id[..8], 16).expect("seconds");
    let created = world.number("SELECT floor(extract(epoch FROM created_at))::bigint FROM profiles").await;
    assert_eq!(seconds, created);
}

#[tokio::test]
async fn a_request_without_content_type_is_read_by_its_first_byte_and_one_with_it_by_that() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    assert_eq!(client.call(format!(" \n{}", world.request(""))).await.error(), 0);
    for content_type in ["application/json", "application/json; charset=utf-8", "application/octet-stream"] {
        let properties = props().with_content_type(content_type.into());
        assert_eq!(client.call_with(world.request(""), properties).await.error(), 0, "{content_type}");
    }
    let properties = props().with_content_type("application/json; charset=windows-1251".into());
    assert_eq!(client.call_with(world.request(""), properties).await.error(), 400);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_leaves_nothing() {
    let world = World::new().await;
    let _worker = world.worker_with(&[("BODY_MAX", "2KiB")]).await;
    let mut client = world.client().await;
    let large = world.request(&format!(r#""data":{{"x":"{}"}}"#, "x".repeat(3000)));
    let reply = client.call(&large).await;
    assert_eq!(reply.json(), serde_json::json!({"error": 413, "error_text": "the body is larger than 2048 bytes"}));
    assert_eq!(client.call(world.request("")).await.error(), 0);
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 1);
    assert!(client.take_now(&world.dead_letter_queue()).await.is_none());
}

/// A message much larger than a frame comes through in both directions.
#[tokio::test]
async fn a_request_of_megabytes_is_stored() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client: Client = world.client().await;
    let text = "ж".repeat(2_000_000);
    let reply = client.call(world.request(&format!(r#""data":{{"x":"{text}"}}"#))).await;
    assert_eq!(reply.error(), 0);
    assert_eq!(world.number("SELECT length(data->>'x')::bigint FROM profiles").await, 2_000_000);
}
