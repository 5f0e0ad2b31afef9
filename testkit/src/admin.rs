//! What a worker shows at its ADMIN_ADDR.

use std::collections::HashMap;

use profile_worker::admin::client;

use crate::worker::{Worker, until};
use crate::world::World;

/// Where the worker listens; it says so before it connects to anything.
pub async fn admin_of(worker: &mut Worker) -> String {
    let line = worker
        .until_said("health, status and metrics at http://")
        .await;
    line.rsplit("http://")
        .next()
        .expect("an address")
        .trim()
        .to_owned()
}

/// A worker that takes requests, and where it listens.
pub async fn observed(world: &World, settings: &[(&'static str, &str)]) -> (Worker, String) {
    let mut worker = world.start_worker(settings);
    let admin = admin_of(&mut worker).await;
    worker.until_said("taking requests").await;
    (worker, admin)
}

pub async fn get(admin: &str, path: &str) -> (bool, String) {
    client::ask(admin.parse().expect("an address"), path)
        .await
        .expect("an answer")
}

/// All samples by their names with labels.
pub async fn samples(admin: &str) -> HashMap<String, f64> {
    let (is_good, text) = get(admin, "/metrics").await;
    assert!(is_good && text.ends_with("# EOF\n"));
    let samples = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        });
    samples.collect()
}

pub async fn is_ready(admin: &str) -> bool {
    get(admin, "/ready").await.0
}

/// Waits until it is not ready, for this reason.
pub async fn until_not_ready(admin: &str, reason: &str) {
    until(async || {
        let (is_good, text) = get(admin, "/ready").await;
        !is_good && text.starts_with("not ready\n") && text.contains(reason)
    })
    .await;
    assert!(get(admin, "/live").await.0, "it is alive all the same");
}
