//! Custom fields that an operator defines, and strict databases.

use profile_worker::domain::custom_field::FieldType;

use testkit::world::World;

/// What was defined, changed or removed a moment ago counts at once, in both formats.
#[tokio::test]
async fn a_definition_counts_at_once() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let xml = |value: &str| {
        let data = format!("<data><level>{value}</level></data>");
        format!(
            "<xml><token>{}</token><db_id>1</db_id>{data}</xml>",
            world.token
        )
    };
    let level = "SELECT (data->'level')::text FROM profiles ORDER BY id DESC LIMIT 1";

    assert!(
        client
            .call(xml("3"))
            .await
            .text()
            .contains("<error>0</error>")
    );
    assert_eq!(
        world.texts(level).await,
        [r#""3""#],
        "not defined: stored as it comes"
    );

    world.store.set_strict(1, true).await.expect("strict");
    testkit::worker::until(async || {
        client
            .call(xml("3"))
            .await
            .text()
            .contains("is not a field of this database")
    })
    .await;
    world
        .store
        .define_field(1, "level", FieldType::Integer)
        .await
        .expect("defined");
    assert!(
        client
            .call(xml("3"))
            .await
            .text()
            .contains("<error>0</error>"),
        "created a moment ago"
    );
    assert_eq!(world.texts(level).await, ["3"], "converted");
    let text =
        "<error_text>data.level: must be an integer, is the text &quot;high&quot;</error_text>";
    assert!(client.call(xml("high")).await.text().contains(text));

    world
        .store
        .define_field(1, "level", FieldType::String)
        .await
        .expect("changed");
    assert!(
        client
            .call(xml("high"))
            .await
            .text()
            .contains("<error>0</error>"),
        "changed a moment ago"
    );
    world.store.set_strict(1, false).await.expect("not strict");
    assert_eq!(
        client
            .call(world.request(r#""data":{"other":[1]}"#))
            .await
            .error(),
        0,
        "changed a moment ago"
    );
}

#[tokio::test]
async fn definitions_are_of_one_database() {
    let world = World::new().await;
    let other = world
        .store
        .create_database("two", false)
        .await
        .expect("a database");
    world
        .store
        .define_field(other, "level", FieldType::Integer)
        .await
        .expect("defined");
    let _worker = world.worker().await;
    let mut client = world.client().await;
    assert_eq!(
        client
            .call(world.request(r#""data":{"level":"high"}"#))
            .await
            .error(),
        0
    );
}
