//! What can go wrong with the database, and what follows. The only place that reads SQLSTATE.

use deadpool::managed::PoolError;
use tokio_postgres::error::SqlState;

/// A statement did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, full, read-only, or not set up: wait and try again. Whether the
    /// statement took effect may be unknown.
    #[error("{0}")]
    Unavailable(String),
    /// The database is there, but not for us: wrong password, no such database, no permission, no
    /// schema. A worker that starts gives up and says so; one that runs waits, since whoever broke
    /// it will mend it.
    #[error("{0}")]
    Setup(String),
    /// It waited for a lock for too long, or took too long.
    #[error("{0}")]
    Slow(String),
    /// Another transaction came in between: try again soon.
    #[error("a conflict with another transaction (SQLSTATE {0})")]
    Conflict(String),
    /// The database refuses what the statement carries, and will refuse it again.
    ///
    /// Only the code, since the server's words may quote the data.
    #[error("the database refuses the data (SQLSTATE {0})")]
    Refused(String),
}

impl StoreError {
    /// No answer in time; the connection is given up.
    pub(super) fn timed_out(what: &str) -> Self {
        Self::Unavailable(format!("the database did not answer in time ({what})"))
    }

    /// What was prepared is gone, or is something else; see `store::pooler`.
    pub(super) fn statements_get_lost() -> Self {
        Self::Setup(
            "prepared statements get lost on the way to PostgreSQL; a pooler that lends a session for one transaction must \
             know them: with PgBouncer set pool_mode = session, or from version 1.21 on max_prepared_statements = 100"
                .to_owned(),
        )
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            return Self::Unavailable(outermost(&error));
        };
        let code = refusal.code();
        // 40001, 40P01: the loser of a race.
        if [&SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::T_R_DEADLOCK_DETECTED].contains(&code) {
            return Self::Conflict(code.code().to_owned());
        }
        // 57014, 55P03: our own time limits.
        if [&SqlState::QUERY_CANCELED, &SqlState::LOCK_NOT_AVAILABLE].contains(&code) {
            return Self::Slow(format!("{} (SQLSTATE {})", refusal.message(), code.code()));
        }
        match &code.code()[..2] {
            // Login, catalogue.
            "28" | "3D" => {
                Self::Setup(format!("PostgreSQL refuses the login: {}; check DATABASE_URL", refusal.message()))
            }
            _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                Self::Setup(format!("PostgreSQL refuses: {}; give the user its permissions", refusal.message()))
            }
            _ if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::UNDEFINED_COLUMN => {
                Self::Setup("the schema is missing or older than this program: run `profile-worker migrate`".to_owned())
            }
            // Nobody but us prepares statements in our sessions; see `store::pooler`.
            _ if *code == SqlState::INVALID_SQL_STATEMENT_NAME || *code == SqlState::DUPLICATE_PSTATEMENT => {
                Self::statements_get_lost()
            }
            // The server itself is not well: connection, transaction state (read-only), resources, not in the
            // right state, operator, system, internal. Its words quote no data.
            "08" | "25" | "53" | "55" | "57" | "58" | "XX" => {
                Self::Unavailable(format!("{} (SQLSTATE {})", refusal.message(), code.code()))
            }
            // A schema or a session changed under us. Only the code from here on: a trigger may say anything.
            "0A" | "24" | "26" | "2D" | "34" | "3B" | "3F" | "40" | "42" | "F0" => {
                Self::Unavailable(format!("PostgreSQL fails with SQLSTATE {}", code.code()))
            }
            // Cardinality, data, integrity, check option, over a limit, and whatever a trigger may raise.
            _ => Self::Refused(code.code().to_owned()),
        }
    }
}

/// An error with its causes, as one line.
fn outermost(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

impl From<PoolError<StoreError>> for StoreError {
    fn from(error: PoolError<StoreError>) -> Self {
        match error {
            PoolError::Backend(error) => error,
            other => Self::Unavailable(outermost(&other)),
        }
    }
}
