//! No profile is added twice by one request, however often it is delivered; and one email is one
//! profile, however many want it.

use std::collections::HashSet;

use testkit::client::props;
use testkit::world::World;

const WITH_EMAIL: &str = r#""data":{"email":"a@example.com","subscriptions":[{"resource_id":2,"channel":"email","email":"a@example.com"}]}"#;

#[tokio::test]
async fn the_same_request_with_its_message_id_gets_its_first_answer() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    for (i, data) in [WITH_EMAIL, r#""data":{"_fname":"Ann"}"#]
        .into_iter()
        .enumerate()
    {
        let body = world.request(data);
        let named = || props().with_message_id(format!("m{i}").as_str().into());
        let first = client.call_with(&body, named()).await;
        let again = client.call_with(&body, named()).await;
        assert_eq!(again.json(), first.json());
        assert_eq!(first.error(), 0);
    }
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 2);
    assert_eq!(world.number("SELECT count(*) FROM subscriptions").await, 1);
}

#[tokio::test]
async fn the_answer_is_the_same_from_another_worker_at_a_later_time() {
    let world = World::new().await;
    let mut client = world.client().await;
    let body = world.request(WITH_EMAIL);
    let worker = world.worker().await;
    let first = client
        .call_with(&body, props().with_message_id("m".into()))
        .await;
    worker.kill().await;
    let _another = world.worker().await;
    let again = client
        .call_with(&body, props().with_message_id("m".into()))
        .await;
    assert_eq!(again.json(), first.json());
}

#[tokio::test]
async fn the_same_message_id_with_another_body_is_another_request() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let named = || props().with_message_id("m".into());
    let first = client
        .call_with(world.request(r#""data":{"_fname":"Ann"}"#), named())
        .await;
    let second = client
        .call_with(world.request(r#""data":{"_fname":"Bob"}"#), named())
        .await;
    assert_ne!(first.profile_id(), second.profile_id());
}

#[tokio::test]
async fn without_message_id_two_equal_requests_are_two_requests() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let empty = world.request("");
    assert_ne!(
        client.call(&empty).await.profile_id(),
        client.call(&empty).await.profile_id()
    );
    let body = world.request(WITH_EMAIL);
    assert_eq!(
        (
            client.call(&body).await.error(),
            client.call(&body).await.error()
        ),
        (0, 409)
    );
}

/// Publishes while no worker runs, lets one be killed after its commit and before its
/// acknowledgement, and looks at what the next one answers.
async fn answers_after_a_crash(
    data: &str,
    properties: lapin::BasicProperties,
) -> (World, i64, String) {
    let world = World::new().await;
    let mut client = world.client().await;
    // The reply can't be published, as the disk of the broker would be full: the exchange of events
    // is what a worker publishes to as well, and here it is gone, which closes the channel.
    let worker = world.worker().await;
    client
        .channel
        .exchange_delete(world.event_exchange().into(), Default::default())
        .await
        .expect("deleted");
    let properties = properties
        .with_reply_to(client.reply_queue.as_str().into())
        .with_correlation_id("c".into());
    client
        .publish(world.request(data).as_bytes(), properties)
        .await;
    let stored = async || world.number("SELECT count(*) FROM profiles").await == 1;
    testkit::worker::until(stored).await;
    worker.kill().await;
    let _another = world.worker().await;
    let reply = client.reply("c").await;
    let error = reply.error();
    let id = reply.json()["profile_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (world, error, id)
}

#[tokio::test]
async fn a_redelivered_request_with_message_id_and_email_is_the_one_that_was_stored() {
    let (world, error, id) =
        answers_after_a_crash(WITH_EMAIL, props().with_message_id("m".into())).await;
    assert_eq!(
        (error, world.texts("SELECT id FROM profiles").await),
        (0, vec![id])
    );
}

#[tokio::test]
async fn a_redelivered_request_with_message_id_and_no_email_is_the_one_that_was_stored() {
    let (world, error, id) = answers_after_a_crash("", props().with_message_id("m".into())).await;
    assert_eq!(
        (error, world.texts("SELECT id FROM profiles").await),
        (0, vec![id])
    );
}

#[tokio::test]
async fn a_redelivered_request_without_message_id_but_with_email_is_the_one_that_was_stored() {
    let (world, error, id) = answers_after_a_crash(WITH_EMAIL, props()).await;
    assert_eq!(
        (error, world.texts("SELECT id FROM profiles").await),
        (0, vec![id])
    );
}

#[tokio::test]
async fn two_workers_racing_for_one_email_give_one_0_and_else_409() {
    let world = World::new().await;
    let workers = [world.worker().await, world.worker().await];
    for worker in &workers {
        worker.signal("STOP").await;
    }
    let mut client = world.client().await;
    let emails = 20;
    for i in 0..200 {
        let case = if i % 3 == 0 { "RACER" } else { "racer" };
        let body = world.request(&format!(
            r#""data":{{"email":"{case}{}@example.com"}}"#,
            i % emails
        ));
        let properties = props()
            .with_reply_to(client.reply_queue.as_str().into())
            .with_correlation_id(format!("c{i}").as_str().into());
        client.publish(body.as_bytes(), properties).await;
    }
    for worker in &workers {
        worker.signal("CONT").await;
    }
    let mut winners = HashSet::new();
    let mut refused = 0;
    for i in 0..200 {
        match client.reply(&format!("c{i}")).await.error() {
            0 => assert!(winners.insert(i % emails), "two profiles with one email"),
            409 => refused += 1,
            other => panic!("error {other}"),
        }
    }
    assert_eq!((winners.len(), refused), (20, 180));
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 20);
}

#[tokio::test]
async fn the_email_is_unique_in_a_database_and_not_across_them() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let other = world
        .store
        .create_database("two", false)
        .await
        .expect("a database");
    let (_, token) = world
        .new_token(&profile_worker::domain::token::Scope::AllDatabases)
        .await;
    for db_id in [1, other] {
        let body =
            format!(r#"{{"token":"{token}","db_id":{db_id},"data":{{"email":"a@example.com"}}}}"#);
        assert_eq!(
            (
                client.call(&body).await.error(),
                client.call(&body).await.error()
            ),
            (0, 409)
        );
    }
}
