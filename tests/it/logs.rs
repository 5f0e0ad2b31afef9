//! What a worker says on standard error, to machines and to nobody.

use std::collections::HashSet;

use serde_json::Value;

use testkit::admin::{observed, samples};
use testkit::client::props;
use testkit::world::World;

/// The lines of our own as JSON.
fn ours(said: &str) -> Vec<Value> {
    let lines = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")));
    lines
        .filter(|line: &Value| {
            line["target"]
                .as_str()
                .is_some_and(|t| t.starts_with("profile_worker"))
        })
        .collect()
}

#[tokio::test]
async fn each_line_is_json_with_the_same_fields_and_nothing_personal_or_secret() {
    let world = World::new().await;
    world.refuse_poison().await;
    let worker = world
        .worker_with(&[("RUST_LOG", "trace,h2=off"), ("LOG_FORMAT", "json")])
        .await;
    let mut client = world.client().await;
    let data = |email: &str| {
        let data = format!(
            r#""data":{{"email":"{email}@example.com","phones":["+79001112233"],"_lname":"Hush"}}"#
        );
        world.request(&data)
    };
    let named = || props().with_message_id("m-1".into());
    let added = client.call_with(data("whisper"), named()).await;
    assert_eq!(client.call(data("whisper")).await.error(), 409);
    assert_eq!(
        client
            .call_with(data("poison.whisper"), named())
            .await
            .error(),
        500
    );
    assert_eq!(client.call("whisper").await.error(), 400);
    let long = props().with_message_id("x".repeat(200).as_str().into());
    assert_eq!(
        client
            .call_with(r#"{"db_id":1,"token":"whisper"}"#, long)
            .await
            .error(),
        401
    );
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(status.success(), "{said}");
    let lines = ours(&said);
    for line in &lines {
        for field in ["timestamp", "level", "message", "target"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
        for secret in ["whisper", "9001112233", "Hush", &world.token, "guest:guest"] {
            assert!(!line.to_string().contains(secret), "{line}");
        }
    }
    let answers: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "answered")
        .collect();
    let codes: Vec<_> = answers
        .iter()
        .filter_map(|line| line["code"].as_u64())
        .collect();
    assert_eq!(codes, [0, 409, 500, 400, 401]);
    assert!(
        answers
            .iter()
            .all(|line| line["level"] == "DEBUG" && line["correlation_id"].is_string()),
        "{answers:?}"
    );
    let first = answers[0];
    assert_eq!(
        (&first["message_id"], &first["db_id"]),
        (&"m-1".into(), &1.into())
    );
    assert_eq!(first["profile_id"], added.profile_id());
    assert_eq!(answers[4]["message_id"], "x".repeat(128));
    let failures: Vec<_> = lines
        .iter()
        .filter(|line| line["level"] == "ERROR")
        .collect();
    assert_eq!(failures.len(), 1);
    assert_eq!(
        (&failures[0]["message_id"], &failures[0]["code"]),
        (&"m-1".into(), &500.into())
    );
    assert_eq!(failures[0]["correlation_id"], answers[2]["correlation_id"]);
    // The last word is not lost.
    assert_eq!(lines.last().expect("a line")["message"], "finished");
}

/// What an operator sees by default does not grow with the requests.
#[tokio::test]
async fn requests_leave_no_line_unless_asked_for() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut client = world.client().await;
    for _ in 0..20 {
        assert_eq!(client.call(world.request("")).await.error(), 0);
        assert_eq!(client.call("{}").await.error(), 400);
    }
    worker.signal("TERM").await;
    let (_, said) = worker.end().await;
    let words: HashSet<_> = said.lines().collect();
    assert!(words.len() < 10, "{said}");
}

/// A full pipe would stop lanes and heartbeats, if whoever logs waited for its reader.
#[tokio::test]
async fn a_worker_whose_words_nobody_reads_goes_on_and_says_later_what_was_dropped() {
    let world = World::new().await;
    let (mut worker, admin) = observed(&world, &[("RUST_LOG", "debug")]).await;
    let mut client = world.client().await;
    // More than the pipe and the queue of lines take.
    let count = 12_000;
    for i in 0..count / 1000 {
        client
            .publish_all((0..1000).map(|k| ("{}".to_owned(), client.replying(&format!("{i}-{k}")))))
            .await;
        for k in 0..1000 {
            assert_eq!(client.reply(&format!("{i}-{k}")).await.error(), 400);
        }
    }
    let dropped = async || samples(&admin).await["profile_worker_log_lines_dropped_total"];
    assert!(dropped().await > 1000.0);
    let line = worker.until_said("log lines were dropped").await;
    let told: f64 = line
        .rsplit("lines=")
        .next()
        .and_then(|lines| lines.parse().ok())
        .expect("a number");
    let dropped = dropped().await;
    assert!(
        line.contains(" WARN ") && told <= dropped && told > 1000.0,
        "{dropped}: {line}"
    );
    worker.signal("TERM").await;
    let (status, said) = worker.end().await;
    assert!(status.success() && said.contains("finished"), "{said}");
}

/// Even then it ends in order, and soon.
#[tokio::test]
async fn a_worker_whose_words_nobody_reads_ends() {
    let world = World::new().await;
    let worker = world.worker_with(&[("RUST_LOG", "debug")]).await;
    let mut client = world.client().await;
    client
        .publish_all((0..2000).map(|i| ("{}".to_owned(), client.replying(&i.to_string()))))
        .await;
    for _ in 0..2000 {
        client.next_reply().await;
    }
    worker.signal("TERM").await;
    assert!(worker.status_unread().await.success());
}
