//! Many profiles in one request: each with an outcome of its own.

use std::collections::HashSet;

use serde_json::Value;

use testkit::client::{Message, props};
use testkit::world::World;

/// A request for so many profiles, with the emails `name0@…` and so on.
fn request(world: &World, name: &str, count: usize) -> String {
    let profiles: Vec<_> = (0..count)
        .map(|i| format!(r#"{{"email":"{name}{i}@example.com","n":{i}}}"#))
        .collect();
    world.request(&format!(r#""data":[{}]"#, profiles.join(",")))
}

fn results(reply: &Message) -> Vec<Value> {
    assert_eq!(reply.error(), 0);
    reply.json()["result"].as_array().expect("results").clone()
}

fn ids(reply: &Message) -> Vec<String> {
    let id = |result: &Value| {
        assert_eq!(result["error"], 0, "{result}");
        result["profile_id"].as_str().expect("an id").to_owned()
    };
    results(reply).iter().map(id).collect()
}

/// The ids in the table, in the order of the request.
async fn stored_ids(world: &World) -> Vec<String> {
    world
        .texts("SELECT id FROM profiles ORDER BY (data->>'n')::int")
        .await
}

#[tokio::test]
async fn ten_thousand_profiles_are_stored_and_each_is_answered_in_order() {
    let world = World::new().await;
    let mut worker = world.worker().await;
    let mut client = world.client().await;
    let events = client.listen_for_events(&world, "profile.added.1").await;
    let reply = client.call(request(&world, "a", 10_000)).await;
    let answered = ids(&reply);
    assert_eq!(answered.iter().collect::<HashSet<_>>().len(), 10_000);
    assert_eq!(stored_ids(&world).await, answered);
    assert_eq!(client.waiting(&events).await, 10_000);
    worker.signal("TERM").await;
    worker.until_said("finished").await;
    assert_eq!(
        client.waiting(&world.request_queue()).await,
        0,
        "it was acknowledged"
    );
}

#[tokio::test]
async fn error_413_more_than_ten_thousand_profiles() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    // Before anybody asks who sent it.
    for body in [
        request(&world, "a", 10_001),
        request(&world, "a", 10_001).replacen(&world.token, "x", 1),
    ] {
        let reply = client.call(body).await;
        let text = "more than 10000 profiles in one request";
        assert_eq!(
            reply.json(),
            serde_json::json!({"error": 413, "error_text": text})
        );
    }
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 0);
}

#[tokio::test]
async fn a_request_that_is_refused_as_a_whole_has_no_results() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let reply = client
        .call(r#"{"token":"wrong","db_id":1,"data":[{}]}"#)
        .await;
    assert_eq!(
        reply.json(),
        serde_json::json!({"error": 401, "error_text": "unknown token"})
    );
}

/// The request is killed in the middle, by killing the worker; the next worker finds what was done.
#[tokio::test]
async fn a_replay_gives_the_same_ids_even_if_the_worker_died_in_the_middle() {
    let world = World::new().await;
    let mut client = world.client().await;
    let body = request(&world, "a", 10_000);
    let named = || {
        props()
            .with_message_id("import-1".into())
            .with_reply_to(client.reply_queue.as_str().into())
            .with_correlation_id("c".into())
    };
    let properties = [named(), named()];
    let worker = world.worker_with(&[("LANES", "1")]).await;
    let [first, second] = properties;
    client.publish(body.as_bytes(), first).await;
    testkit::worker::until(async || world.number("SELECT count(*) FROM profiles").await > 0).await;
    worker.kill().await;
    let before = world
        .texts("SELECT data->>'n' || ' ' || id FROM profiles")
        .await;
    assert!(
        !before.is_empty() && before.len() < 10_000,
        "killed in the middle: {} profiles",
        before.len()
    );

    let _another = world.worker_with(&[("LANES", "1")]).await;
    let answered = ids(&client.reply("c").await);
    assert_eq!(stored_ids(&world).await, answered);
    for line in before {
        let (place, id) = line.split_once(' ').expect("a place");
        assert_eq!(
            answered[place.parse::<usize>().expect("a number")],
            id,
            "stored before the worker died"
        );
    }
    client.publish(body.as_bytes(), second).await;
    assert_eq!(ids(&client.reply("c").await), answered);
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 10_000);
}

/// Without emails it is the message id alone that tells.
#[tokio::test]
async fn a_replay_of_profiles_without_emails_gives_the_same_ids() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let body = world.request(r#""data":[{"n":0},{"n":1},{"n":1}]"#);
    let named = || props().with_message_id("m".into());
    let first = ids(&client.call_with(&body, named()).await);
    assert_eq!(ids(&client.call_with(&body, named()).await), first);
    assert_ne!(ids(&client.call(&body).await), first);
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 6);
}

#[tokio::test]
async fn of_two_entries_with_one_email_the_first_is_added() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    for round in 0..20 {
        let email = format!("e{round}@example.com");
        let body = world.request(&format!(
            r#""data":[{{"email":"{email}"}},{{"email":" {email}"}}]"#
        ));
        let properties = || props().with_message_id(format!("m{round}").as_str().into());
        let first = client.call_with(&body, properties()).await;
        let errors: Vec<_> = results(&first)
            .iter()
            .map(|result| result["error"].clone())
            .collect();
        assert_eq!(errors, [0, 409]);
        assert_eq!(
            client.call_with(&body, properties()).await.json(),
            first.json()
        );
    }
}

#[tokio::test]
async fn small_requests_overtake_a_request_of_many_profiles() {
    let world = World::new().await;
    let large = request(&world, "a", 10_000);
    overtake(&world, &large, 50).await;
}

/// As large as `BODY_MAX` allows if nothing else is said.
#[tokio::test]
async fn small_requests_overtake_a_request_of_ten_megabytes() {
    let world = World::new().await;
    let large = request(&world, "a", 10_000)
        .replace(r#""n":"#, &format!(r#""text":"{}","n":"#, "x".repeat(980)));
    assert!(
        (10_000_000..10 << 20).contains(&large.len()),
        "{}",
        large.len()
    );
    overtake(&world, &large, 10).await;
}

async fn overtake(world: &World, large: &str, small: usize) {
    let worker = world.worker_with(&[("LANES", "1")]).await;
    worker.signal("STOP").await;
    let mut client = world.client().await;
    client
        .publish(large.as_bytes(), client.replying("large"))
        .await;
    for i in 0..small {
        client
            .publish(
                world.request("").as_bytes(),
                client.replying(&format!("small{i}")),
            )
            .await;
    }
    worker.signal("CONT").await;
    for _ in 0..small {
        let reply = client.next_reply().await;
        let id = reply
            .properties
            .correlation_id()
            .as_ref()
            .expect("an id")
            .to_string();
        assert!(id.starts_with("small"), "{id} came before a small one");
    }
    assert_eq!(ids(&client.reply("large").await).len(), 10_000);
    assert_eq!(
        world.number("SELECT count(*) FROM profiles").await,
        10_000 + small as i64
    );
}

#[tokio::test]
async fn many_requests_of_a_few_profiles_are_each_answered_once() {
    let world = World::new().await;
    let mut worker = world.worker().await;
    worker.signal("STOP").await;
    let mut client = world.client().await;
    for i in 0..300 {
        let body = if i % 3 == 0 {
            world.request("")
        } else {
            request(&world, &format!("r{i}x"), i % 40)
        };
        let properties = props().with_reply_to(client.reply_queue.as_str().into());
        client
            .publish(
                body.as_bytes(),
                properties.with_correlation_id(format!("c{i}").as_str().into()),
            )
            .await;
    }
    worker.signal("CONT").await;
    let mut added = 0;
    for i in 0..300 {
        let reply = client.reply(&format!("c{i}")).await;
        let expected = if i % 3 == 0 { 1 } else { i % 40 };
        added += expected as i64;
        if i % 3 == 0 {
            assert_eq!(reply.error(), 0);
        } else {
            assert_eq!(ids(&reply).len(), expected);
        }
    }
    worker.signal("TERM").await;
    worker.until_said("finished").await;
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, added);
    assert_eq!(client.waiting(&world.request_queue()).await, 0);
    assert!(client.take_now(&world.result_queue()).await.is_none());
}

#[tokio::test]
async fn error_500_of_one_entry_spares_the_others_and_keeps_the_request() {
    let world = World::new().await;
    world.refuse_poison().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let body = world.request(
        r#""data":[{"email":"a@example.com"},{"email":"poison@example.com"},{"_tz":"x"},{"email":"b@example.com"}]"#,
    );
    let reply = client.call(&body).await;
    let errors: Vec<_> = results(&reply)
        .iter()
        .map(|result| result["error"].clone())
        .collect();
    assert_eq!(errors, [0, 500, 400, 0]);
    let dead = client.take(&world.dead_letter_queue()).await;
    assert_eq!(dead.text(), body);
    assert_eq!(dead.header("x-error").as_deref(), Some("500"));
}

#[tokio::test]
async fn a_worker_that_is_stopped_finishes_the_request_it_holds() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    let properties = props()
        .with_reply_to(client.reply_queue.as_str().into())
        .with_correlation_id("c".into());
    client
        .publish(request(&world, "a", 10_000).as_bytes(), properties)
        .await;
    testkit::worker::until(async || world.number("SELECT count(*) FROM profiles").await > 0).await;
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(status.success(), "{status}: {said}");
    assert!(!said.contains("could not be finished"), "{said}");
    assert_eq!(ids(&client.reply("c").await).len(), 10_000);
    assert_eq!(client.waiting(&world.request_queue()).await, 0);
}
