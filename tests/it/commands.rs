//! The commands, as a person or a script uses them.

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use testkit::servers::Servers;
use testkit::worker::command;
use testkit::world::World;

/// Runs a command with the settings of a world.
pub(crate) async fn run(world: &World, arguments: &[&str]) -> Output {
    run_with_input(world, arguments, "").await
}

async fn run_with_input(world: &World, arguments: &[&str], input: &str) -> Output {
    let mut command = command();
    command.args(arguments).envs(world.settings());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command can be started");
    let mut stdin = child.stdin.take().expect("its input");
    let writing = async move { stdin.write_all(input.as_bytes()).await.expect("written") };
    // Both at a time: it answers before it has read everything, and waits for somebody to read
    // that.
    let ((), output) = tokio::join!(writing, child.wait_with_output());
    output.expect("its end")
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Standard output of a command that succeeds.
pub(crate) async fn succeed(world: &World, arguments: &[&str]) -> String {
    let output = run(world, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", err(&output));
    out(&output)
}

/// The one line on standard error of a command that fails with 1.
pub(crate) async fn fail(world: &World, arguments: &[&str]) -> String {
    let output = run(world, arguments).await;
    assert_eq!(
        (output.status.code(), out(&output).as_str()),
        (Some(1), ""),
        "{arguments:?}"
    );
    let line = err(&output);
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

#[tokio::test]
async fn a_script_can_set_up_a_database_and_send_a_request() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let db = succeed(&world, &["database", "create", "Shop"]).await;
    assert_eq!(db, "2\n");
    let db = db.trim();
    let resource = succeed(
        &world,
        &[
            "resource",
            "create",
            "--db",
            db,
            "--channels",
            "email,sms",
            "News",
        ],
    )
    .await;
    let token = succeed(
        &world,
        &["token", "create", "--db", db, "--expires", "90d", "CRM"],
    )
    .await;
    let token = token.trim_end();
    assert!(token.starts_with("pw_") && token.len() == 67, "{token}");
    let request = format!(
        r#"{{"token":"{token}","db_id":{db},"data":{{"email":"a@example.com","subscriptions":[
            {{"resource_id":{},"channel":"sms","phone":"+79000000000"}}]}}}}"#,
        resource.trim()
    );
    let output = run_with_input(&world, &["send", "-"], &request).await;
    assert!(output.status.success(), "{}", err(&output));
    let reply: Value = serde_json::from_slice(&output.stdout).expect("the reply alone");
    assert_eq!(reply["error"], 0);
    assert!(err(&output).starts_with("1 request answered in "));
    succeed(&world, &["token", "revoke", "2"]).await;
}

#[tokio::test]
async fn lists_are_tables_for_people_and_json_for_scripts() {
    let world = World::new().await;
    succeed(&world, &["token", "create", "--all-databases", "CRM"]).await;
    succeed(&world, &["token", "revoke", "2"]).await;
    let databases: Value =
        serde_json::from_str(&succeed(&world, &["database", "list", "--json"]).await)
            .expect("JSON");
    assert_eq!(
        (&databases[0]["id"], &databases[0]["name"]),
        (&1.into(), &"one".into())
    );
    assert!(databases[0]["created_at"].is_string());
    let resources: Value =
        serde_json::from_str(&succeed(&world, &["resource", "list", "--json"]).await)
            .expect("JSON");
    assert_eq!(
        resources[1],
        serde_json::json!({"id": 2, "db_id": 1, "name": "mail", "channels": ["email"]})
    );
    let tokens: Value =
        serde_json::from_str(&succeed(&world, &["token", "list", "--json"]).await).expect("JSON");
    assert_eq!(
        (&tokens[0]["databases"], &tokens[0]["revoked_at"]),
        (&serde_json::json!([1]), &Value::Null)
    );
    assert_eq!(tokens[1]["all_databases"], true);
    assert!(tokens[1]["revoked_at"].is_string());
    assert_eq!(
        succeed(&world, &["database", "list"]).await,
        "ID  STRICT  NAME\n1   no      one\n"
    );
    let table = succeed(&world, &["token", "list"]).await;
    assert!(
        table
            .lines()
            .nth(2)
            .expect("a row")
            .starts_with("2   CRM   all        revoked "),
        "{table}"
    );
}

#[tokio::test]
async fn fields_are_defined_listed_and_removed() {
    let world = World::new().await;
    for arguments in [
        ["level", "number"],
        ["level", "integer"],
        ["tags", "strings"],
    ] {
        succeed(
            &world,
            &[&["field", "add", "--db", "1"][..], &arguments].concat(),
        )
        .await;
    }
    assert_eq!(
        succeed(&world, &["field", "list"]).await,
        "DB  NAME   TYPE\n1   level  integer\n1   tags   strings\n"
    );
    succeed(&world, &["field", "remove", "--db", "1", "tags"]).await;
    let fields: Value =
        serde_json::from_str(&succeed(&world, &["field", "list", "--json"]).await).expect("JSON");
    assert_eq!(
        fields,
        serde_json::json!([{"db_id": 1, "name": "level", "type": "integer"}])
    );
    succeed(&world, &["database", "strict", "1", "on"]).await;
    assert_eq!(
        succeed(&world, &["database", "list"]).await,
        "ID  STRICT  NAME\n1   yes     one\n"
    );
    for arguments in [
        ["email", "string"],
        ["_fname", "string"],
        ["subscriptions", "strings"],
        ["x", "text"],
    ] {
        let output = run(
            &world,
            &[&["field", "add", "--db", "1"][..], &arguments].concat(),
        )
        .await;
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_one_line_and_an_exit_code() {
    let world = World::new().await;
    for (arguments, words) in [
        (
            &["database", "create", "one"][..],
            "there is a database of this name already",
        ),
        (
            &[
                "resource",
                "create",
                "--db",
                "9",
                "--channels",
                "email",
                "x",
            ],
            "database 9 does not exist",
        ),
        (
            &["token", "create", "--db", "1,9", "x"],
            "database 9 does not exist",
        ),
        (&["token", "revoke", "99"], "token 99 does not exist"),
        (
            &["field", "add", "--db", "9", "level", "integer"],
            "database 9 does not exist",
        ),
        (
            &["field", "remove", "--db", "1", "level"],
            "database 1 has no field \"level\"",
        ),
        (
            &["database", "strict", "9", "on"],
            "database 9 does not exist",
        ),
        (&["send", "/nowhere/at/all"], "can't open /nowhere/at/all"),
        (&["send", "-"], "there is no queue"),
    ] {
        let line = fail(&world, arguments).await;
        assert!(line.contains(words), "{line}");
    }
    // Nothing of the token that could not be made.
    assert_eq!(world.number("SELECT count(*) FROM api_tokens").await, 1);
}

#[tokio::test]
async fn servers_that_are_not_there_or_refuse_us_are_one_line_without_secrets() {
    let world = World::new().await;
    let nowhere = "postgres://profile_worker:s3cret@127.0.0.1:1/x";
    let no_such_database = format!("{}_gone", world.database_url);
    let wrong_login = world
        .servers
        .amqp_url
        .replace("guest:guest", "guest:s3cret");
    for (arguments, words) in [
        (
            &["database", "list", "--database-url", nowhere][..],
            "can't reach PostgreSQL",
        ),
        (
            &["migrate", "--database-url", &no_such_database],
            "does not exist",
        ),
        (
            &["send", "-", "--amqp-url", "amqp://guest:s3cret@127.0.0.1:1"],
            "can't reach RabbitMQ at 127.0.0.1:1",
        ),
    ] {
        let line = fail(&world, arguments).await;
        assert!(line.contains(words) && !line.contains("s3cret"), "{line}");
    }
    if wrong_login != world.servers.amqp_url {
        let (status, said) = world
            .start_worker(&[("AMQP_URL", &wrong_login)])
            .end()
            .await;
        assert_eq!(status.code(), Some(1), "{said}");
        let line = said.lines().last().expect("a line");
        assert!(
            line.contains("refuses the login") && !said.contains("s3cret"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_worker_on_an_empty_database_says_to_migrate() {
    let world = World::new().await;
    world
        .execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .await;
    let (status, said) = world.start_worker(&[]).end().await;
    assert_eq!(status.code(), Some(1));
    assert!(
        said.lines()
            .last()
            .expect("a line")
            .contains("run `profile-worker migrate`"),
        "{said}"
    );
    let line = fail(&world, &["database", "list"]).await;
    assert!(line.contains("run `profile-worker migrate`"), "{line}");
    succeed(&world, &["migrate"]).await;
    assert_eq!(
        succeed(&world, &["database", "list"]).await,
        "ID  STRICT  NAME\n"
    );
}

#[tokio::test]
async fn all_configuration_mistakes_are_reported_at_once() {
    Servers::shared();
    let mut command = command();
    command
        .args(["run", "--lanes", "none"])
        .env("BODY_MAX", "5")
        .env("DATABASE_URL", "mysql://u:s3cret@h");
    let output = command.output().await.expect("its end");
    assert_eq!(output.status.code(), Some(64));
    let text = err(&output);
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split(':').nth(1))
        .map(str::trim)
        .collect();
    assert_eq!(
        names,
        ["AMQP_URL", "DATABASE_URL", "LANES", "BODY_MAX"],
        "{text}"
    );
    assert!(!text.contains("s3cret"));
}

#[tokio::test]
async fn a_flag_wins_over_its_environment_variable() {
    let world = World::new().await;
    let output = run(&world, &["database", "list", "--database-url", "nonsense"]).await;
    assert_eq!(output.status.code(), Some(64), "{}", err(&output));
}

#[tokio::test]
async fn help_names_every_setting_with_its_default() {
    let output = command()
        .args(["run", "--help"])
        .output()
        .await
        .expect("its end");
    // Without the line breaks.
    let help = out(&output)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for setting in profile_worker::config::setting::ALL {
        assert!(
            help.contains(&format!("[env: {}]", setting.name)),
            "{}",
            setting.name
        );
        assert!(
            help.contains(&format!("--{} ", setting.flag())),
            "{}",
            setting.name
        );
        if let Some(file) = setting.file() {
            assert!(help.contains(&format!("[in a file: {file}]")), "{file}");
        }
    }
    assert_eq!(
        command()
            .arg("nonsense")
            .output()
            .await
            .expect("its end")
            .status
            .code(),
        Some(64)
    );
}

#[tokio::test]
async fn send_prints_replies_in_the_order_of_the_lines() {
    let world = World::new().await;
    let _worker = world.worker().await;
    let line = |i: usize| world.request(&format!(r#""feedback_id":"f{i}""#)) + "\n\n";
    let input: String = (0..3000).map(line).collect();
    let output = run_with_input(
        &world,
        &["send", "-", "--lines", "--message-id", "import"],
        &input,
    )
    .await;
    assert!(output.status.success(), "{}", err(&output));
    let replies = out(&output);
    for (i, line) in replies.lines().enumerate() {
        assert!(
            line.contains(&format!(r#""feedback_id":"f{i}""#)),
            "{i}: {line}"
        );
    }
    assert_eq!(replies.lines().count(), 3000);
    // The same file under the same name adds nothing and gets the same answers.
    let again = run_with_input(
        &world,
        &["send", "-", "--lines", "--message-id", "import"],
        &input,
    )
    .await;
    assert_eq!(out(&again), replies);
    assert_eq!(world.number("SELECT count(*) FROM profiles").await, 3000);
}

#[tokio::test]
async fn send_says_by_its_exit_code_what_became_of_the_requests() {
    let world = World::new().await;
    let worker = world.worker().await;
    let input = format!("{}\nnonsense\n", world.request(""));
    let refused = run_with_input(&world, &["send", "-", "--lines"], &input).await;
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        err(&refused).contains("1 of 2 requests refused"),
        "{}",
        err(&refused)
    );
    worker.kill().await;
    let unanswered = run_with_input(
        &world,
        &["send", "-", "--timeout", "200ms"],
        &world.request(""),
    )
    .await;
    assert_eq!(unanswered.status.code(), Some(1));
    assert!(
        err(&unanswered).contains("no reply within 200ms"),
        "{}",
        err(&unanswered)
    );
    let published = run_with_input(&world, &["send", "-", "--no-wait"], &world.request("")).await;
    assert!(published.status.success() && published.stdout.is_empty());
    let _another = world.worker().await;
    let client = world.client().await;
    assert_eq!(client.take(&world.result_queue()).await.error(), 0);
}
