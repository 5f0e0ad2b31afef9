//! Reference worker: answers every request and does nothing else. What the broker and the client
//! library allow. `make bench` runs it.

#![expect(
    clippy::disallowed_methods,
    reason = "a program on its own: it reads its own environment"
)]
#![expect(clippy::print_stderr, reason = "tells the benchmark that it has begun")]

mod batches;
mod replying;

use batches::{LANES, Lane};
use replying::{Form, added, new_id};
use tokio::task::JoinSet;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut opened = Vec::new();
    for _ in 0..LANES {
        opened.push(Lane::open(Form::from_environment()).await?);
    }
    eprintln!("taking requests");
    let mut lanes: JoinSet<_> = opened.into_iter().map(work).collect();
    while let Some(ended) = lanes.join_next().await {
        ended??;
    }
    Ok(())
}

async fn work(mut lane: Lane) -> Result<()> {
    loop {
        let batch = lane.batch().await?;
        let bodies: Vec<_> = batch.iter().map(|_| added(&new_id())).collect();
        lane.answer(&batch, &bodies).await?;
    }
}
