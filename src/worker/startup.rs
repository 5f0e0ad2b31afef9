//! Waiting for the database: before the first session, and before each further one.

use tokio::time::Instant;
use tracing::{info, warn};

use crate::observe::health::Part;
use crate::observe::reasons::Reasons;
use crate::pipeline::backoff::Backoff;
use crate::pipeline::context::Context;
use crate::pipeline::shutdown::Stop;
use crate::pipeline::store_retry::Meanwhile;
use crate::status::WorkerStatus;
use crate::store::directory::DirectoryKeeper;
use crate::store::email;
use crate::store::error::StoreError;
use crate::store::pool::Store;
use crate::store::pooler;
use crate::store::schema::{self, MigrateError};

/// Waits until the database can be reached, has the schema, lets us do what a worker does, and
/// tells who may do what.
///
/// # Errors
///
/// What no waiting mends, with what is to be done.
pub(super) async fn wait_for_database(
    store: &Store,
    status: &WorkerStatus,
) -> Result<DirectoryKeeper, MigrateError> {
    let (recorder, address) = (status.recorder(), store.url().address());
    let mut backoff = Backoff::new();
    let mut said = Reasons::default();
    loop {
        let error = match try_database(store).await {
            Ok(directory) => {
                info!("connected to PostgreSQL at {address}");
                status.knows(&directory);
                recorder.health.well(Part::Database);
                return Ok(directory);
            }
            Err(MigrateError::Store(error)) if may_pass(&error) => error,
            Err(error) => return Err(error),
        };
        recorder.database_failed(&error);
        let words = format!("waiting for PostgreSQL at {address}: {error}");
        if said.is_new(&words) {
            warn!("{words}");
        }
        recorder.health.trouble(Part::Database, words);
        backoff.wait().await;
    }
}

async fn try_database(store: &Store) -> Result<DirectoryKeeper, MigrateError> {
    schema::check(store).await?;
    pooler::check(store).await?;
    store.check_rights().await?;
    email::rule::check(store).await?;
    match store.probe().await {
        Err(error) if !may_pass(&error) => return Err(error.into()),
        // One that is full or read-only now may still be asked who may do what.
        _ => {}
    }
    Ok(DirectoryKeeper::load(store).await?)
}

/// Whether waiting may mend it.
fn may_pass(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable(_)
        | StoreError::Unwell(_)
        | StoreError::Slow(_)
        | StoreError::Conflict(_) => true,
        StoreError::Setup(_) | StoreError::Denied { .. } | StoreError::Refused(_) => false,
    }
}

/// Waits until the database can store a profile.
pub(super) async fn wait_for_room(context: &Context, stop: &mut Stop) {
    let mut backoff = Backoff::new();
    let mut waiting = false;
    let answers = async {
        while let Err(error) = can_work(context).await {
            context.recorder.database_failed(&error);
            context
                .store_trouble
                .failed(&context.recorder, &error, Meanwhile::NotTaken);
            if !waiting && may_pass(&error) {
                info!("taking no requests until the database can store them");
            }
            waiting = true;
            backoff.wait().await;
        }
        if context.store_trouble.is_over(&context.recorder) {
            info!("the database is back");
        }
    };
    tokio::select! {
        () = stop.requested() => {}
        () = answers => {}
    }
}

/// All that a lane asks of the database: the first thing that is missing, if anything is.
async fn can_work(context: &Context) -> Result<(), StoreError> {
    context.store.check_rights().await?;
    context.store.probe().await?;
    context.directory.true_since(Instant::now()).await?;
    Ok(())
}
