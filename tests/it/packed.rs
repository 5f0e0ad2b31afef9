//! Bodies that are packed, or in another character set, through a real broker.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use testkit::client::props;
use testkit::packing::{bare_deflate, gzip, gzip_by, zlib, zstd};
use testkit::world::World;

fn encoded(content_encoding: &str) -> BasicProperties {
    props().with_content_encoding(content_encoding.into())
}

/// By the header that kombu writes.
fn compressed(compression: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    let value = AMQPValue::LongString(compression.into());
    headers.insert("compression".into(), value);
    encoded("utf-8").with_headers(headers)
}

fn xml(world: &World) -> String {
    format!(
        "<xml><token>{}</token><db_id>1</db_id><data><_fname>Иван</_fname></data></xml>",
        world.token
    )
}

#[tokio::test]
async fn packed_requests_are_stored_and_answered_plainly() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let json = world.request(r#""data":{"_fname":"Иван"}"#);
    let xml = xml(&world);
    for body in [json.as_bytes(), xml.as_bytes()] {
        for (packed, properties) in [
            (gzip(body), encoded("gzip")),
            (gzip(body), encoded("gzip, UTF-8")),
            (zlib(body), encoded("deflate")),
            (bare_deflate(body), encoded("deflate")),
            (zstd(body), encoded("zstd")),
            (zlib(body), compressed("application/x-gzip")),
        ] {
            let reply = client.call_with(&packed, properties).await;
            let text = reply.text();
            assert!(text.contains("profile_id"), "{text}");
            assert_eq!(text.starts_with('<'), body.starts_with(b"<"), "{text}");
        }
    }
    let stored = world
        .texts("SELECT DISTINCT data->>'_fname' FROM profiles")
        .await;
    assert_eq!(stored, ["Иван"]);
}

#[tokio::test]
async fn requests_in_other_character_sets_are_stored_in_utf8() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let json = world.request(r#""data":{"_fname":"Иван"}"#);
    let xml = format!(
        "<?xml version='1.0' encoding='windows-1251'?>{}",
        xml(&world)
    );
    let cyrillic = |text: &str| encoding_rs::WINDOWS_1251.encode(text).0.into_owned();
    let utf16: Vec<u8> = json.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (body, properties) in [
        (
            cyrillic(&json),
            props().with_content_type("application/json; charset=windows-1251".into()),
        ),
        (cyrillic(&json), encoded("windows-1251")),
        (cyrillic(&xml), props()),
        (gzip(&cyrillic(&xml)), encoded("gzip")),
        (
            utf16,
            props().with_content_type("application/json; charset=utf-16".into()),
        ),
    ] {
        let reply = client.call_with(&body, properties).await;
        assert!(reply.text().contains("profile_id"), "{}", reply.text());
    }
    let stored = world
        .texts("SELECT DISTINCT data->>'_fname' FROM profiles")
        .await;
    assert_eq!(stored, ["Иван"]);
}

#[tokio::test]
async fn a_request_packed_in_another_way_is_the_same_request() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    for (i, data) in ["", r#""data":{"email":"a@example.com"}"#]
        .iter()
        .enumerate()
    {
        let body = world.request(data);
        let id = format!("m{i}");
        let named = |properties: BasicProperties| properties.with_message_id(id.as_str().into());
        let first = client.call_with(&body, named(props())).await;
        assert_eq!(first.error(), 0);
        for (packed, properties) in [
            (gzip_by(body.as_bytes(), 1), encoded("gzip")),
            (gzip_by(body.as_bytes(), 9), encoded("gzip")),
            (zstd(body.as_bytes()), encoded("zstd")),
        ] {
            let again = client.call_with(&packed, named(properties)).await;
            assert_eq!(again.json(), first.json());
        }
    }
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 2);
}

#[tokio::test]
async fn what_cant_be_unpacked_is_a_dead_letter_as_it_came() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let whole = gzip(world.request("").as_bytes());
    let cut = &whole[..whole.len() - 5];
    for (content_encoding, text) in [
        ("gzip", "the body is not gzip: it ends too early"),
        (
            "br",
            "the content_encoding br is not known; gzip, deflate and zstd are",
        ),
    ] {
        let reply = client.call_with(cut, encoded(content_encoding)).await;
        let text = format!("not a readable request: {text}");
        assert_eq!(reply.json()["error_text"].as_str(), Some(text.as_str()));
        let dead = client.take(&world.dead_letter_queue()).await;
        assert_eq!(dead.body, cut);
        let kept = dead.properties.content_encoding().as_ref();
        assert_eq!(
            kept.map(ToString::to_string).as_deref(),
            Some(content_encoding)
        );
        assert_eq!(dead.header("x-error-text"), Some(text));
    }
}

/// Large bodies go another way than small ones, by what they unpack to.
#[tokio::test]
async fn large_and_small_packed_requests_are_answered_side_by_side() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let large = world.request(&format!(r#""data":{{"x":"{}"}}"#, "x".repeat(1 << 20)));
    let bomb = gzip(&vec![b' '; 20 << 20]);
    let mut expected = Vec::new();
    for i in 0..60 {
        let (body, content_encoding, code) = match i % 3 {
            0 => (gzip(large.as_bytes()), "gzip", 0),
            1 => (zstd(world.request("").as_bytes()), "zstd", 0),
            _ => (bomb.clone(), "gzip", 413),
        };
        let id = i.to_string();
        let properties = client
            .replying(&id)
            .with_content_encoding(content_encoding.into());
        client.publish(&body, properties).await;
        expected.push((id, code));
    }
    for (id, code) in expected {
        let reply = client.reply(&id).await;
        assert_eq!(reply.error(), code, "{}", reply.text());
    }
}
