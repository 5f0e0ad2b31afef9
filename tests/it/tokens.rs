//! API tokens in running workers.

use std::time::{Duration, Instant};

use lapin::types::{AMQPValue, FieldTable};
use profile_worker::domain::channel::Channel;
use profile_worker::domain::token::Scope;

use testkit::client::props;
use testkit::world::World;

fn body(token: &str, db_id: i64) -> String {
    format!(r#"{{"token":"{token}","db_id":{db_id}}}"#)
}

#[tokio::test]
async fn a_token_may_stand_in_the_authorization_header() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let with_header = |value: AMQPValue| {
        let mut headers = FieldTable::default();
        headers.insert("authorization".into(), value);
        props().with_headers(headers)
    };
    let bearer = |token: &str| AMQPValue::LongString(format!("Bearer {token}").into());
    let without = r#"{"db_id":1}"#;
    assert_eq!(
        client
            .call_with(without, with_header(bearer(&world.token)))
            .await
            .error(),
        0
    );
    assert_eq!(
        client
            .call_with(without, with_header(bearer("nobody")))
            .await
            .error(),
        401
    );
    assert_eq!(
        client
            .call_with(without, with_header(AMQPValue::LongInt(5)))
            .await
            .error(),
        401
    );
    assert_eq!(
        client
            .call_with(body(&world.token, 1), with_header(bearer("nobody")))
            .await
            .error(),
        0
    );
}

#[tokio::test]
async fn what_was_created_a_moment_ago_works_at_once() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    for round in 0..20 {
        let db_id = world
            .store
            .create_database(&format!("new {round}"), false)
            .await
            .expect("a database");
        let resource = world
            .store
            .create_resource(db_id, &[Channel::Email], "new")
            .await
            .expect("a resource");
        let (_, token) = world.new_token(&Scope::Databases(vec![db_id])).await;
        let body = format!(
            r#"{{"token":"{token}","db_id":{db_id},"data":{{"subscriptions":[
                {{"resource_id":{resource},"channel":"email","email":"a@example.com"}}]}}}}"#
        );
        assert_eq!(
            client.call(&body).await.text()[..12].to_owned(),
            r#"{"error":0,""#,
            "round {round}"
        );
    }
}

#[tokio::test]
async fn what_was_revoked_stops_within_five_seconds() {
    let world = World::new().await;
    let _workers = [world.worker().await, world.worker().await];
    let mut client = world.client().await;
    let (id, token) = world.new_token(&Scope::AllDatabases).await;
    assert_eq!(client.call(body(&token, 1)).await.error(), 0);
    world.store.revoke_token(id).await.expect("revoked");
    let revoked = Instant::now();
    // Several in a row, so that both workers and all their lanes have had one.
    let mut refused = 0;
    while refused < 20 {
        let reply = client.call(body(&token, 1)).await;
        refused = if reply.error() == 401 { refused + 1 } else { 0 };
        assert!(revoked.elapsed() < Duration::from_secs(5), "still accepted");
    }
    assert_eq!(
        client.call(body(&token, 1)).await.json()["error_text"],
        "the token was revoked"
    );
}

/// Where notifications don't get through, as behind some poolers, the timer does it.
#[tokio::test]
async fn a_change_that_nobody_announced_is_seen_within_five_seconds() {
    let world = World::new().await;
    world
        .execute(
            "CREATE OR REPLACE FUNCTION directory_changed() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN UPDATE directory_version SET version = version + 1; RETURN NULL; END $$",
        )
        .await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let (id, token) = world.new_token(&Scope::AllDatabases).await;
    assert_eq!(
        client.call(body(&token, 1)).await.error(),
        0,
        "known at once all the same"
    );
    world.store.revoke_token(id).await.expect("revoked");
    let revoked = Instant::now();
    while client.call(body(&token, 1)).await.error() == 0 {
        assert!(revoked.elapsed() < Duration::from_secs(5), "still accepted");
    }
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let (id, token) = world.new_token(&Scope::AllDatabases).await;
    assert_eq!(client.call(body(&token, 1)).await.error(), 0);
    world
        .execute(&format!(
            "UPDATE api_tokens SET expires_at = now() WHERE id = {id}"
        ))
        .await;
    testkit::worker::until(async || client.call(body(&token, 1)).await.error() == 401).await;
    assert_eq!(
        client.call(body(&token, 1)).await.json()["error_text"],
        "the token has expired"
    );
}

#[tokio::test]
async fn only_a_hash_of_a_token_is_kept() {
    let world = World::new().await;
    let row = world
        .texts("SELECT t::text || encode(token_hash, 'escape') FROM api_tokens t")
        .await;
    assert!(!row[0].contains(&world.token[3..]));
    assert_eq!(
        world
            .number("SELECT length(token_hash)::bigint FROM api_tokens")
            .await,
        32
    );
}

/// Access that ends while requests are under way: each gets one of the contract's answers.
#[tokio::test]
async fn what_is_taken_away_under_load_ends_in_the_contracts_answers() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    let other = world
        .store
        .create_database("other", false)
        .await
        .expect("a database");
    let (id, revoked) = world.new_token(&Scope::Databases(vec![1])).await;
    let (_, everywhere) = world.new_token(&Scope::AllDatabases).await;
    let subscribed =
        r#""data":{"subscriptions":[{"resource_id":2,"channel":"email","email":"a@example.com"}]}"#;
    // By the token, by the resource, by the database.
    let kinds = [
        (format!(r#"{{"token":"{revoked}","db_id":1}}"#), 401),
        (
            format!(r#"{{"token":"{everywhere}","db_id":1,{subscribed}}}"#),
            400,
        ),
        (
            format!(r#"{{"token":"{everywhere}","db_id":{other}}}"#),
            404,
        ),
    ];
    let mut refused = [0; 3];
    let mut sent = 0;
    for round in 0.. {
        if round == 3 {
            world.store.revoke_token(id).await.expect("revoked");
            world
                .execute(&format!(
                    "DELETE FROM resources WHERE id = 2; DELETE FROM databases WHERE id = {other}"
                ))
                .await;
        }
        let round = sent..sent + 600;
        sent += 600;
        client
            .publish_all(
                round
                    .clone()
                    .map(|i| (kinds[i % 3].0.clone(), client.replying(&i.to_string()))),
            )
            .await;
        let before = refused;
        for i in round {
            let error = client.reply(&i.to_string()).await.error();
            assert!(error == 0 || error == kinds[i % 3].1, "{i}: {error}");
            refused[i % 3] += usize::from(error != 0);
        }
        if refused
            .iter()
            .zip(before)
            .all(|(now, before)| now - before == 200)
        {
            break;
        }
    }
    let stored = world.number("SELECT count(*) FROM profiles").await;
    assert_eq!(stored as usize, sent - refused.iter().sum::<usize>());
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(status.success() && !said.contains("lost"), "{said}");
}
