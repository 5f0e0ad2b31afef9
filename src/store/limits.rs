//! How long PostgreSQL may take for what. Nothing here waits for it without a limit.

use std::future::Future;
use std::time::Duration;

use super::error::StoreError;

/// How long a statement of ours may take on the server: a thousand times what a batch takes.
const STATEMENT_MAX: Duration = Duration::from_secs(10);

/// How long it may wait for a lock of somebody else: ours are held for milliseconds.
const LOCK_MAX: Duration = Duration::from_secs(2);

/// How long we wait for a statement: a little longer than the server lets it run, so that normally
/// the server's word comes first.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(12);

/// How long one attempt at one address may take, from the first packet to the answer whether it
/// takes writes, if `connect_timeout` says nothing else.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Waits for the database's answer, for as long as an answer may take.
pub(super) async fn within<T>(
    what: &'static str,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(ANSWER_MAX, answer).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StoreError::timed_out(what)),
    }
}

/// What is set for each session. Not in the start-up packet, which poolers between us and the
/// server often refuse.
///
/// The server ends by itself what we no longer wait for.
///
/// Our statements are prepared once for each connection, and each has one good plan, whatever the
/// tables hold: index lookups. PostgreSQL would choose others for tables that are small, or that it
/// believes to be, and keep them when they have grown; so it is told to. With its cost of a table
/// that must be read as a whole (the directory) it would begin to compile, which takes longer than
/// to read.
pub(super) fn session_settings() -> String {
    let limit = STATEMENT_MAX.as_millis();
    let lock = LOCK_MAX.as_millis();
    format!(
        "SET statement_timeout = {limit}; SET lock_timeout = {lock}; \
         SET idle_in_transaction_session_timeout = {limit}; \
         SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off"
    )
}
