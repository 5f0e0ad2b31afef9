//! Values as the database has them.

use serde_json::json;

use testkit::world::World;

/// What has one form is stored in it, whatever the format and the spelling; and a moment that the
/// calendar of UTC does not have is no fault of PostgreSQL's.
#[tokio::test]
async fn values_are_stored_as_the_contract_says() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let events = client.listen_for_events(&world, "#").await;

    let json = r#""data":{"_tz":"europe/moscow","_country":"ru ","_status":2.0,"_bdate":"",
        "phones":["+44 (0)20 7946 0958","+442079460958",""],
        "subscriptions":[
            {"resource_id":1,"channel":"sms","phone":"+49 30/901820","date":"9999-12-31T23:59:59-23:59"},
            {"resource_id":1,"channel":"sms","phone":"+49 30/901821","date":"2016-12-31T23:59:60Z"}]}"#;
    assert_eq!(client.call(world.request(json)).await.error(), 0);
    let xml = format!(
        "<xml><token>{}</token><db_id>1</db_id><data>
            <_tz> EUROPE/MOSCOW </_tz><_country>Ru</_country><_status>02</_status><_bdate/>
            <phones>+44 (0)20 7946 0958</phones>
            <subscriptions>
                <resource_id>1</resource_id><channel>sms</channel><phone>+49 30/901820</phone>
                <date>9999-12-31T23:59:59-23:59</date>
            </subscriptions>
        </data></xml>",
        world.token
    );
    let reply = client.call(xml).await;
    assert!(
        reply.text().contains("<error>0</error>"),
        "{}",
        reply.text()
    );

    let data = world
        .texts("SELECT data::text FROM profiles ORDER BY id")
        .await;
    let stored = json!({
        "_tz": "Europe/Moscow", "_country": "RU", "_status": 2, "phones": ["+442079460958"]
    });
    for data in &data {
        let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(data, stored);
    }
    assert_eq!(data.len(), 2);

    let dates = world
        .texts(
            "SELECT address || ' ' || to_char(date AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
             FROM subscriptions ORDER BY profile_id, position",
        )
        .await;
    let far = "+4930901820 10000-01-01 23:58:59";
    assert_eq!(dates, [far, "+4930901821 2016-12-31 23:59:59", far]);

    let event = client.take(&events).await.json();
    let date = |index: usize| event["subscriptions"][index]["date"].clone();
    assert_eq!(date(0), "9999-12-31T23:59:59-23:59");
    assert_eq!(date(1), "2016-12-31T23:59:59Z");
}

/// Half of an emoji is a fault of its field: neither a dead letter, nor one of its neighbours.
#[tokio::test]
async fn half_of_an_emoji_costs_its_profile_only() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let batch = r#""data":[{"_fname":"Ann"},{"_fname":"Jo \ud83d"},{"_fname":"Bob \ud83d\ude00"}]"#;
    let reply = client.call(world.request(batch)).await.json();
    assert_eq!(reply["error"], 0);
    let errors: Vec<_> = (0..3)
        .map(|i| reply["result"][i]["error"].clone())
        .collect();
    assert_eq!(errors, [0, 400, 0]);
    let names = world
        .texts("SELECT data->>'_fname' FROM profiles ORDER BY 1")
        .await;
    assert_eq!(names, ["Ann", "Bob 😀"]);
    let dead_letters = world.dead_letter_queue();
    assert!(client.take_now(&dead_letters).await.is_none());
}
