//! Waiting for the database: before the first session, and before each further one.

use tracing::{info, warn};

use crate::pipeline::backoff::Backoff;
use crate::pipeline::health::Part;
use crate::pipeline::lane::Shared;
use crate::pipeline::shutdown::Stop;
use crate::pipeline::vitals::Vitals;
use crate::store::directory::DirectoryKeeper;
use crate::store::error::StoreError;
use crate::store::migrate::{self, MigrateError};
use crate::store::pool::Store;
use crate::store::pooler;

/// Waits until the database can be reached, has the schema, and tells who may do what.
pub(super) async fn wait_for_database(store: &Store, vitals: &Vitals) -> Result<DirectoryKeeper, MigrateError> {
    let address = store.url().address();
    let mut backoff = Backoff::new();
    let mut waiting = false;
    loop {
        let attempt = async {
            migrate::check(store).await?;
            pooler::check(store).await?;
            Ok(DirectoryKeeper::load(store).await?)
        };
        match attempt.await {
            Ok(directory) => {
                info!("connected to PostgreSQL at {address}");
                vitals.knows(&directory);
                vitals.health.well(Part::Database);
                return Ok(directory);
            }
            Err(MigrateError::Store(
                error @ (StoreError::Unavailable(_) | StoreError::Slow(_) | StoreError::Conflict(_)),
            )) => {
                vitals.database_failed(&error);
                vitals.health.trouble(Part::Database, format!("waiting for PostgreSQL at {address}: {error}"));
                if !waiting {
                    warn!("waiting for PostgreSQL at {address}: {error}");
                    waiting = true;
                }
                backoff.wait().await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits until the database can store a profile.
pub(super) async fn wait_for_room(shared: &Shared, stop: &mut Stop) {
    let mut backoff = Backoff::new();
    let mut waiting = false;
    let answers = async {
        while let Err(error) = shared.store.probe().await {
            let words = format!("no requests are taken until the database can store them: {error}");
            shared.vitals.database_failed(&error);
            shared.vitals.health.trouble(Part::Database, words);
            if !waiting {
                info!(%error, "taking no requests until the database can store them");
                waiting = true;
            }
            backoff.wait().await;
        }
        if waiting {
            info!("the database is back");
        }
        shared.vitals.health.well(Part::Database);
    };
    tokio::select! {
        () = stop.requested() => {}
        () = answers => {}
    }
}
