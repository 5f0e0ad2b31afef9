//! The contract as documents, judged by validators that nobody here wrote. `scripts/validators`
//! gets them, and says which can't be run on a machine.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use testkit::worker::command;
use testkit::world::World;

/// A folder for the documents of one test.
pub(crate) async fn folder(name: &str) -> PathBuf {
    let folder = path(&format!(".local/validators/documents-{name}"));
    tokio::fs::create_dir_all(&folder).await.expect("a folder");
    folder
}

pub(crate) fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Prints a document into a file.
pub(crate) async fn print(arguments: &[&str], file: &Path) {
    let output = command()
        .arg("contract")
        .args(arguments)
        .output()
        .await
        .expect("the command can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    tokio::fs::write(file, output.stdout)
        .await
        .expect("written");
}

/// Runs a validator.
pub(crate) async fn pass(program: &mut Command) {
    let output = program.kill_on_drop(true).output().await;
    let output = output.expect("it can be run: `make test` prepares the validators");
    let words = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&words)
    );
}

#[tokio::test]
#[ignore = "a program of others: `make test-foreign`"]
async fn every_fixture_agrees_with_the_schemas() {
    let folder = folder("schemas").await;
    print(&["--format", "json-schema"], &folder.join("schema.json")).await;
    print(&["--format", "xsd"], &folder.join("request.xsd")).await;
    print(
        &["--format", "xsd", "--message", "reply"],
        &folder.join("reply.xsd"),
    )
    .await;

    let world = World::new().await;
    let _worker = world.worker().await;
    let mut client = world.client().await;
    let events = client.listen_for_events(&world, "#").await;
    let all_fields = r#""data":{"subscriptions":[{"resource_id":1,"channel":"push","provider":"p","subscription_id":"s",
        "priority":1,"cats":["a"],"custom_fields":{"b":1},"date":"2020-01-02T03:04:05Z","ip":"::1","url":"u","status":3}]}"#;
    for (i, data) in ["", r#""data":{"email":"a@example.com"}"#, all_fields]
        .into_iter()
        .enumerate()
    {
        assert_eq!(client.call(world.request(data)).await.error(), 0);
        let event = client.take(&events).await;
        tokio::fs::write(folder.join(format!("{i}.event.json")), event.body)
            .await
            .expect("written");
    }

    let mut python = Command::new("python3");
    python
        .arg(path("tests/documents/validate.py"))
        .args([folder, path("tests/fixtures")]);
    pass(python.env("PYTHONPATH", path(".local/validators/python"))).await;
}

#[tokio::test]
#[ignore = "a program of others: `make test-foreign`"]
async fn the_asyncapi_document_passes_the_parser_of_asyncapi() {
    let folder = folder("asyncapi").await;
    print(&["--format", "asyncapi"], &folder.join("asyncapi.json")).await;
    let mut node = Command::new("node");
    node.arg(path("tests/documents/parse_asyncapi.mjs"))
        .arg(folder.join("asyncapi.json"));
    pass(node.env("NODE_PATH", path(".local/validators/node_modules"))).await;
}
