//! Holds RabbitMQ and PostgreSQL in containers for as long as somebody keeps our standard input
//! open. `scripts/test` does, so that they end with it, whatever ends it.
//!
//! The one argument is a file, which gets AMQP_URL, MQTT_URL, STOMP_URL and DATABASE_URL when both
//! answer.

#![expect(clippy::print_stderr, reason = "that is its job")]

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use testkit::containers::Servers;

use testkit::Failure;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: containers FILE");
        return ExitCode::from(64);
    };
    match hold(Path::new(&file)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("servers in containers: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn hold(file: &Path) -> Result<(), Failure> {
    let end = end()?;
    // Not given up halfway when the end comes: a container that is just being made has no owner
    // yet.
    let servers = Servers::start(None).await?;
    let words = format!(
        "AMQP_URL={}\nDATABASE_URL={}\nMQTT_URL={}\nSTOMP_URL={}\n",
        servers.amqp_url, servers.database_url, servers.mqtt_url, servers.stomp_url
    );
    // At once, as somebody waits for it.
    let new = file.with_extension("new");
    std::fs::write(&new, words)?;
    std::fs::rename(&new, file)?;
    end.await;
    servers.remove().await
}

/// Until standard input is closed, or we are told to end.
fn end() -> Result<impl Future<Output = ()>, Failure> {
    let (closed, is_closed) = oneshot::channel();
    // Not tokio's: its runtime would wait for this read when a signal ends us.
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        closed.send(()).ok();
    });
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = is_closed => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
