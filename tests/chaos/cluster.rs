//! What is to be known of a cluster: who leads the request queue, and that it has as many members
//! as nodes.

use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::scene::{LOOK_EVERY, Scene};
use testkit::Failure;
use testkit::load::REQUEST_QUEUE;

const NODES: [&str; 3] = ["node1", "node2", "node3"];

/// How long an election may take.
const ELECTED_MAX: Duration = Duration::from_secs(30);

/// The queue must be on all nodes, else the test would show nothing.
pub(crate) async fn check(scene: &Scene) -> Result<(), Failure> {
    let members = about_queue(scene, "members").await?.matches("pw").count();
    if members == NODES.len() {
        Ok(())
    } else {
        Err(format!("{REQUEST_QUEUE} has {members} members").into())
    }
}

/// The node that leads the request queue.
pub(crate) async fn leader(scene: &Scene) -> Result<&'static str, Failure> {
    let limit = Instant::now() + ELECTED_MAX;
    let mut looks = interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let said = about_queue(scene, "leader").await?;
        for node in NODES {
            let ports = std::fs::read_to_string(scene.servers.folder().join(node).join("ports"))?;
            let port = ports
                .lines()
                .find_map(|line| line.strip_prefix("BROKER_PORT="))
                .ok_or("a node has no port")?;
            if said.trim() == format!("pw{port}@localhost") {
                return Ok(node);
            }
        }
        if Instant::now() > limit {
            return Err(format!("{REQUEST_QUEUE} has no leader: {said}").into());
        }
    }
}

/// Whether the primary has written half a MiB that its standby does not have.
const IS_AHEAD: &str = "SELECT coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), min(flush_lsn)), 0) > 524288 FROM pg_stat_replication";

/// How long that may take under this load.
const AHEAD_MAX: Duration = Duration::from_secs(30);

/// Waits until a standby that gets nothing is behind.
pub(crate) async fn until_ahead(scene: &Scene) -> Result<(), Failure> {
    let limit = Instant::now() + AHEAD_MAX;
    let database = scene.database().await?;
    let mut looks = interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        if database.client.query_one(IS_AHEAD, &[]).await?.get(0) {
            return Ok(());
        }
        if Instant::now() > limit {
            return Err("the primary does not get ahead of its standby".into());
        }
    }
}

/// One of the other two.
pub(crate) fn other_node(leader: &str, first: bool) -> &'static str {
    let mut others = NODES.into_iter().filter(|node| *node != leader);
    let (one, two) = (others.next(), others.next());
    (if first { one } else { two }).unwrap_or(NODES[0])
}

/// A column of `rabbitmqctl list_queues`.
async fn about_queue(scene: &Scene, column: &str) -> Result<String, Failure> {
    let table = scene
        .tell(
            &["ctl"],
            &[
                "list_queues",
                "--quiet",
                "--no-table-headers",
                "name",
                column,
            ],
        )
        .await?;
    let line = table
        .lines()
        .find_map(|line| line.strip_prefix(REQUEST_QUEUE)?.strip_prefix('\t'));
    Ok(line
        .ok_or_else(|| format!("the cluster has no queue {REQUEST_QUEUE}: {table}"))?
        .to_owned())
}
