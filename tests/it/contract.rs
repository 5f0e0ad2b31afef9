//! Request and reply, as the file pairs in `tests/fixtures` have them, and what stands in the
//! database afterwards.

use std::path::Path;

use profile_worker::domain::channel::Channel;
use profile_worker::domain::custom_field::FieldType;
use profile_worker::domain::outcome::Code;
use profile_worker::domain::parse::STATUSES;
use profile_worker::domain::profile;
use profile_worker::domain::subscription;
use profile_worker::domain::token::Scope;
use profile_worker::wire::request;
use serde_json::Value;

use testkit::client::{Client, Message, props};
use testkit::world::World;

#[tokio::test]
async fn every_json_fixture_gets_its_reply() {
    let world = fixtures_in("json", 23).await;
    the_right_rows_are_there(&world, ROWS_OF_JSON).await;
}

#[tokio::test]
async fn every_xml_fixture_gets_its_reply() {
    let world = fixtures_in("xml", 25).await;
    the_right_rows_are_there(&world, ROWS_OF_XML).await;
}

/// Sends all requests of one format, and compares the replies.
async fn fixtures_in(format: &str, at_least: usize) -> World {
    let world = World::new().await;
    define_fields(&world).await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let (_, token_for_all) = world.new_token(&Scope::AllDatabases).await;
    let cases = cases(format);
    assert!(cases.len() >= at_least, "only {} cases", cases.len());
    for case in &cases {
        let request =
            read(case, "request", format).replace("{token for all databases}", &token_for_all);
        let reply = client.call(request.replace("{token}", &world.token)).await;
        assert_reply(&reply, format, &read(case, "reply", format), case);
    }
    world
}

/// Compares a reply with what is expected, in which `{profile_id}` stands for any.
fn assert_reply(reply: &Message, format: &str, expected: &str, case: &str) {
    let content_type = reply
        .properties
        .content_type()
        .as_ref()
        .map(ToString::to_string);
    assert_eq!(
        content_type,
        Some(format!("application/{format}")),
        "{case}"
    );
    let text = with_placeholders(reply);
    if format == "json" {
        let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        assert_eq!(json(&text), json(expected), "{case}");
    } else {
        assert_eq!(
            text,
            expected.lines().map(str::trim_start).collect::<String>(),
            "{case}"
        );
    }
}

const PAGE: &str = include_str!("../../docs/contract.md");

/// The fenced blocks of the page that are marked so.
fn blocks<'p>(format: &str, what: &str) -> Vec<&'p str> {
    let fence = format!("```{format} {what}\n");
    PAGE.split(&fence)
        .skip(1)
        .map(|rest| rest.split_once("```").expect("the end of a block").0)
        .collect()
}

#[tokio::test]
async fn the_examples_of_the_page_are_true() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    for (format, at_least) in [("json", 7), ("xml", 3)] {
        let (requests, replies) = (blocks(format, "request"), blocks(format, "reply"));
        assert_eq!(requests.len(), replies.len());
        assert!(requests.len() >= at_least);
        for (request, expected) in requests.into_iter().zip(replies) {
            let reply = client.call(request.replace("{token}", &world.token)).await;
            assert_reply(&reply, format, expected, request);
        }
    }
}

#[test]
fn the_page_has_every_field_channel_status_and_code() {
    let rows: String = PAGE.lines().filter(|line| line.starts_with('|')).collect();
    let tables = [request::FIELDS, profile::FIELDS, subscription::FIELDS].concat();
    let fields = tables.iter().map(|field| format!("`{}`", field.name));
    let channels = Channel::ALL
        .iter()
        .map(|channel| format!("`{}`", channel.name()));
    let statuses = STATUSES.iter().map(|status| format!("`{status}`"));
    let codes = Code::ALL
        .iter()
        .map(|code| format!("| {} |", code.number()));
    for wanted in fields.chain(channels).chain(statuses).chain(codes) {
        assert!(
            rows.contains(&wanted),
            "{wanted} is in no table of docs/contract.md"
        );
    }
    let types = FieldType::ALL
        .iter()
        .map(|field_type| format!("`{}`", field_type.name()));
    types.for_each(|wanted| {
        assert!(
            PAGE.contains(&wanted),
            "{wanted} is not in docs/contract.md"
        )
    });
}

/// Database 2 of the fixtures.
async fn define_fields(world: &World) {
    assert_eq!(
        world
            .store
            .create_database("two", true)
            .await
            .expect("a database"),
        2
    );
    for (name, field_type) in [
        ("nick", FieldType::String),
        ("loyalty_level", FieldType::Integer),
        ("score", FieldType::Number),
        ("vip", FieldType::Boolean),
        ("birthday", FieldType::Date),
        ("last_seen", FieldType::DateTime),
        ("tags", FieldType::Strings),
        ("address", FieldType::Object),
    ] {
        world
            .store
            .define_field(2, name, field_type)
            .await
            .expect("a field");
    }
}

fn cases(format: &str) -> Vec<String> {
    let files = std::fs::read_dir(fixtures()).expect("the fixtures");
    let names = files.map(|file| {
        file.expect("a file")
            .file_name()
            .into_string()
            .expect("a name")
    });
    let suffix = format!(".request.{format}");
    let mut cases: Vec<_> = names
        .filter_map(|name| Some(name.strip_suffix(&suffix)?.to_owned()))
        .collect();
    cases.sort();
    cases
}

fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))
}

fn read(case: &str, what: &str, format: &str) -> String {
    let path = fixtures().join(format!("{case}.{what}.{format}"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The reply with its profile ids replaced, if they have the right form.
fn with_placeholders(reply: &Message) -> String {
    let mut text = reply.text();
    for (before, after) in [
        ("\"profile_id\":\"", "\""),
        ("<profile_id>", "</profile_id>"),
    ] {
        let mut pieces = text.split(before);
        let mut replaced = pieces.next().expect("a text").to_owned();
        for piece in pieces {
            let (id, rest) = piece.split_once(after).expect("the end of an id");
            let digits = id.len() == 24
                && id
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            assert!(digits, "{id}");
            replaced += &format!("{before}{{profile_id}}{after}{rest}");
        }
        text = replaced;
    }
    text
}

/// What a text can be in JSON only: numbers in custom fields that are not defined.
const ROWS_OF_JSON: [&str; 3] = [
    r#"{"level": 3, "tags": ["a", "b"], "points": 12.50}"#,
    "10115",
    r#"{"a": 1}"#,
];
const ROWS_OF_XML: [&str; 3] = [
    r#"{"level": "3", "tags": ["a", "b"], "points": "12.50"}"#,
    r#""10115""#,
    r#"{"a": "1"}"#,
];

async fn the_right_rows_are_there(world: &World, [loyalty, postal_code, custom_fields]: [&str; 3]) {
    let profiles = world
        .texts(
            "SELECT coalesce(email, '-') || ' ' || data FROM profiles WHERE db_id = 1 ORDER BY id",
        )
        .await;
    let john =
        serde_json::from_str::<Value>(profiles[2].split_once(' ').expect("data").1).expect("JSON");
    let expected = serde_json::from_str::<Value>(&format!(
        r#"{{
            "_ip": "192.0.2.1", "_os": "Linux", "_tz": "Europe/Berlin", "_sex": "male", "_city": "Berlin",
            "_bdate": "1980-02-29", "_fname": "John", "_lname": "Doe", "_regip": "2001:db8::1",
            "phones": ["+79000000000"], "_region": "Berlin", "_regurl": "https://example.com/signup",
            "_status": "subscribed", "_vendor": "Lenovo", "loyalty": {loyalty}, "_browser": "Firefox",
            "_country": "DE", "_regcity": "Rome", "_regdate": "2026-11-23T10:00:00+01:00", "_regcountry": "IT",
            "_postal_code": {postal_code}
        }}"#
    ));
    assert_eq!(john, expected.expect("JSON"));
    let all: Vec<_> = profiles
        .iter()
        .map(String::as_str)
        .filter(|row| !row.starts_with("john@"))
        .collect();
    let mut expected = vec![
        r#"- {"_fname": "Fillipp", "_lname": "Doe"}"#,
        "- {}",
        "jane@example.com {}",
        "joan@example.com {}",
        r#"ann@example.com {"_fname": "Ann"}"#,
        "- {}",
        "cid@example.com {}",
        "dan@example.com {}",
        "eve@example.com {}",
    ];
    let gil = format!(
        "gil@example.com {}",
        r#"{"_sex": 1, "_city": "Berlin", "hobby": ["chess", "tea"], "_fname": "<Gil> & Co", "_lname": "ЖЖ <&> \"'", "#
            .to_owned()
            + r#""_status": "subscribed", "_postal_code": "01099"}"#
    );
    // A case of XML alone.
    if all.len() > expected.len() + 1 {
        expected.push(&gil);
    }
    expected.push(r#"- {"Email": "una@example.com", "color": "red", "fname": "Una"}"#);
    assert_eq!(all, expected);
    assert_eq!(
        world
            .texts("SELECT data::text FROM profiles WHERE db_id = 2")
            .await,
        [concat!(
            r#"{"vip": true, "nick": "F", "tags": ["a", "b"], "score": 12.50, "address": {"house": {"number": "12a"}, "#,
            r#""street": "Main Street"}, "birthday": "1990-05-17", "last_seen": "2026-11-23T10:00:00Z", "loyalty_level": 3}"#
        )]
    );
    let subscriptions = world
        .texts(
            "SELECT concat_ws(' ', email, resource_id, channel, address, status, s.priority, cats, custom_fields)
             FROM subscriptions s JOIN profiles p ON p.db_id = s.db_id AND p.id = s.profile_id
             ORDER BY p.id, position",
        )
        .await;
    let notify = format!("jane@example.com 1 notify +79000000000 subscribed {custom_fields}");
    let mut expected = vec![
        r#"jane@example.com 1 email jane@example.com subscribed 1 ["news"]"#,
        "jane@example.com 1 sms +79000000000 unconfirmed",
        "jane@example.com 1 push android-firebase:dev-1 subscribed",
        "jane@example.com 1 telegram_bot 123456 subscribed",
        "jane@example.com 1 whatsapp +79000000000 subscribed",
        "jane@example.com 1 viber +79000000000 subscribed",
        &notify,
        "joan@example.com 1 email joan@example.com subscribed",
        "cid@example.com 1 email cid@example.com subscribed",
        "eve@example.com 1 email eve@example.com subscribed",
    ];
    if subscriptions.len() > expected.len() {
        expected.push(r#"gil@example.com 1 telegram_bot 42 subscribed 5 ["news"]"#);
    }
    assert_eq!(subscriptions, expected);
}

/// `profile_id` as it is in the reply is the id in the table, in the ObjectId layout.
#[tokio::test]
async fn the_profile_id_names_the_row() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let reply = client.call(world.request("")).await;
    let id = reply.profile_id();
    assert_eq!(
        world.texts("SELECT id FROM profiles").await,
        std::slice::from_ref(&id)
    );
    let seconds = i64::from_str_radix(&id[..8], 16).expect("seconds");
    let created = world
        .number("SELECT floor(extract(epoch FROM created_at))::bigint FROM profiles")
        .await;
    assert_eq!(seconds, created);
}

#[tokio::test]
async fn a_request_without_content_type_is_read_by_its_first_byte_and_one_with_it_by_that() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    assert_eq!(
        client
            .call(format!(" \n{}", world.request("")))
            .await
            .error(),
        0
    );
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/json; charset=windows-1251",
        "application/octet-stream",
    ] {
        let properties = props().with_content_type(content_type.into());
        assert_eq!(
            client
                .call_with(world.request(""), properties)
                .await
                .error(),
            0,
            "{content_type}"
        );
    }
    let properties = props().with_content_type("application/json; charset=klingon".into());
    assert_eq!(
        client
            .call_with(world.request(""), properties)
            .await
            .error(),
        400
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_leaves_nothing() {
    let world = World::new().await;
    let _worker = world.worker_with(&[("BODY_MAX", "2KiB")]).await;
    let mut client = world.client().await;
    let large = world.request(&format!(r#""data":{{"x":"{}"}}"#, "x".repeat(3000)));
    let reply = client.call(&large).await;
    assert_eq!(
        reply.json(),
        serde_json::json!({"error": 413, "error_text": "the body is larger than 2048 bytes"})
    );
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
    let reply = client
        .call(world.request(&format!(r#""data":{{"x":"{text}"}}"#)))
        .await;
    assert_eq!(reply.error(), 0);
    assert_eq!(
        world
            .number("SELECT length(data->>'x')::bigint FROM profiles")
            .await,
        2_000_000
    );
}
