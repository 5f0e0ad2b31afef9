//! Clients that nobody here wrote, with the scripts of `examples/clients`. `scripts/clients` gets
//! what they need, and says which can't be run on a machine.

use tokio::process::Command;

use crate::world::World;

/// Runs a client's program on two requests, one good and one bad.
async fn check(mut program: impl FnMut() -> Command) {
    let world = World::new().await;
    let _worker = world.worker().await;
    for (data, error) in [(r#""data":{"email":"a@example.com"}"#, 0), (r#""data":{"email":"a"}"#, 400)] {
        let mut command = program();
        command.arg(world.request(data)).envs(world.settings()).kill_on_drop(true);
        let output = tokio::time::timeout(crate::worker::PATIENCE, command.output()).await;
        let output = output.expect("it ends in time").expect("it can be run: `make test` prepares the clients");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
        let reply: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the reply");
        assert_eq!(reply["error"], error);
    }
    assert_eq!(world.texts("SELECT email FROM profiles").await, ["a@example.com"]);
}

fn path(relative: &str) -> String {
    format!("{}/{relative}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn python_pika() {
    check(|| {
        let mut command = Command::new("python3");
        command.arg(path("examples/clients/add_profile_pika.py"));
        command.env("PYTHONPATH", path(".local/clients/python"));
        command
    })
    .await;
}

#[tokio::test]
async fn node_amqplib() {
    check(|| {
        let mut command = Command::new("node");
        command.arg(path("examples/clients/add_profile_amqplib.js"));
        command.env("NODE_PATH", path(".local/clients/node/node_modules"));
        command
    })
    .await;
}

#[tokio::test]
async fn shell_amqp_tools() {
    check(|| Command::new(path("examples/clients/add_profile.sh"))).await;
}
