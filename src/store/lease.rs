//! A connection on loan from the pool. Each of its statements has a time limit.

use std::future::Future;
use std::time::Duration;

use deadpool::managed::{Object, Pool};
use tokio_postgres::types::{BorrowToSql, ToSql};
use tokio_postgres::{Row, RowStream, Statement, ToStatement};

use super::error::StoreError;
use super::limits::within;
use super::servers::Servers;

/// How often it is looked whether the server is still there while a statement takes as long as the
/// table is large.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A connection on loan. It goes back to the pool only by [`Lease::give_back`]: if a statement
/// fails, runs out of time, or is abandoned halfway, the connection is closed, because the next
/// statement on it would wait behind the abandoned one.
pub(super) struct Lease {
    client: Option<Object<Servers>>,
    pool: Pool<Servers>,
}

/// The parameters of a statement.
type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Lease {
    /// Borrows a connection, or opens one.
    pub(super) async fn from(pool: &Pool<Servers>) -> Result<Self, StoreError> {
        Ok(Self {
            client: Some(pool.get().await?),
            pool: pool.clone(),
        })
    }

    /// Hands the connection to the next one who needs it.
    pub(super) fn give_back(mut self) {
        drop(self.client.take());
    }

    /// A statement that the connection keeps.
    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, StoreError> {
        within("prepare", self.client().prepare_cached(sql)).await
    }

    /// A statement that nobody has prepared before.
    pub(super) async fn prepare_anew(&self, sql: &str) -> Result<Statement, StoreError> {
        within("prepare", self.client().prepare(sql)).await
    }

    /// Returns all rows. `what` is what it is for, should there be no answer.
    pub(super) async fn query(
        &self,
        what: &'static str,
        statement: &(impl ?Sized + ToStatement),
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        within(what, self.client().query(statement, parameters)).await
    }

    /// The only row.
    pub(super) async fn query_one(
        &self,
        what: &'static str,
        statement: &(impl ?Sized + ToStatement),
        parameters: Parameters<'_>,
    ) -> Result<Row, StoreError> {
        within(what, self.client().query_one(statement, parameters)).await
    }

    /// The only row, if there is one.
    pub(super) async fn query_opt(
        &self,
        what: &'static str,
        statement: &(impl ?Sized + ToStatement),
        parameters: Parameters<'_>,
    ) -> Result<Option<Row>, StoreError> {
        within(what, self.client().query_opt(statement, parameters)).await
    }

    /// The rows one by one; the next one is waited for by [`within`].
    pub(super) async fn rows<P: BorrowToSql>(
        &self,
        what: &'static str,
        statement: &(impl ?Sized + ToStatement),
        parameters: impl IntoIterator<Item = P, IntoIter: ExactSizeIterator>,
    ) -> Result<RowStream, StoreError> {
        within(what, self.client().query_raw(statement, parameters)).await
    }

    /// How many rows it changed.
    pub(super) async fn execute(
        &self,
        what: &'static str,
        statement: &(impl ?Sized + ToStatement),
        parameters: Parameters<'_>,
    ) -> Result<u64, StoreError> {
        within(what, self.client().execute(statement, parameters)).await
    }

    /// Several statements without parameters.
    pub(super) async fn batch(&self, what: &'static str, sql: &str) -> Result<(), StoreError> {
        within(what, self.client().batch_execute(sql)).await
    }

    /// The same for what takes as long as a table is large, such as to build an index.
    pub(super) async fn batch_at_length(
        &self,
        what: &'static str,
        sql: &str,
    ) -> Result<(), StoreError> {
        self.at_length(what, self.client().batch_execute(sql)).await
    }

    /// The only row of a query that takes as long as a table is large.
    pub(super) async fn query_one_at_length(
        &self,
        what: &'static str,
        sql: &str,
    ) -> Result<Row, StoreError> {
        self.at_length(what, self.client().query_one(sql, &[]))
            .await
    }

    /// Without a time limit, but for a server that answers nobody any more. The session has none
    /// afterwards, so such a connection is not given back.
    async fn at_length<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        // By itself: with others in one message an index can't be built concurrently.
        self.batch(what, "SET statement_timeout = 0").await?;
        let mut answer = std::pin::pin!(answer);
        loop {
            match tokio::time::timeout(LOOK_EVERY, &mut answer).await {
                Ok(answer) => return Ok(answer?),
                Err(_) => self.look(what).await?,
            }
        }
    }

    /// Whether the server still lets somebody in.
    async fn look(&self, what: &'static str) -> Result<(), StoreError> {
        match self.pool.manager().connect().await {
            // It says no, so it is there; perhaps it has no connection left for us.
            Ok(_) | Err(StoreError::Setup(_)) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "the server does not answer");
                Err(StoreError::timed_out(what))
            }
        }
    }

    fn client(&self) -> &Object<Servers> {
        match &self.client {
            Some(client) => client,
            None => unreachable!("the connection is taken only by give_back and drop"),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
            // What was lost or fell silent here may be so on the others: they are closed, too, once
            // nobody uses them. Else each would cost the time limit of a statement to find out.
            self.pool.retain(|_, _| false);
        }
    }
}
