//! What can go wrong with the database, and what follows. The only place that reads SQLSTATE;
//! `docs/faults.md` has the same as a table.

use deadpool::managed::PoolError;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// A statement did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away: wait and try again. Whether the statement took effect may be unknown.
    #[error("{0}")]
    Unavailable(String),
    /// The database is there and can't do its work now: full, read-only, out of memory. Waiting
    /// may mend it.
    #[error("{0}")]
    Unwell(String),
    /// A fault of the setup, which no waiting mends: wrong password, a right or a table that is
    /// missing. The text says what to do. A worker that starts gives up and says so; one that runs
    /// takes nothing until somebody has mended it.
    #[error("{0}")]
    Setup(String),
    /// A statement is refused, by its SQLSTATE for what the database is like and not for the data.
    /// A trigger may raise any code, so whether it is a fault of the setup only
    /// [`Store::probe`](super::pool::Store::probe) can tell.
    #[error("{words}")]
    Denied {
        /// The SQLSTATE.
        code: String,
        /// What it means for the operator. Nothing of the data.
        words: String,
    },
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

/// PostgreSQL's function that finds out that a prepared statement has become another one, as a
/// table was altered (`plancache.c`). The SQLSTATE is that of any missing feature, and the message
/// is translated; a new connection prepares it anew.
const STALE_STATEMENT: &str = "RevalidateCachedQuery";

/// The columns of our tables that we may leave empty. That an operator forbids this is a rule for
/// the data; that any other column must not be null is one that no request can obey.
const NULLABLE: [&str; 8] = [
    "email",
    "request_id",
    "priority",
    "cats",
    "custom_fields",
    "date",
    "ip",
    "url",
];

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

    /// A table that a statement names can't be seen: there is none, or its schema is not ours.
    pub(super) fn is_undefined_table(&self) -> bool {
        matches!(self, Self::Denied { code, .. } if code == SqlState::UNDEFINED_TABLE.code())
    }

    /// A column that a statement names is not there: there was one, or there will be.
    pub(super) fn is_undefined_column(&self) -> bool {
        matches!(self, Self::Denied { code, .. } if code == SqlState::UNDEFINED_COLUMN.code())
    }

    /// Another row has the same key.
    pub(super) fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Refused(code) if code == SqlState::UNIQUE_VIOLATION.code())
    }

    /// What a row refers to is not there.
    pub(super) fn is_foreign_key_violation(&self) -> bool {
        matches!(self, Self::Refused(code) if code == SqlState::FOREIGN_KEY_VIOLATION.code())
    }

    /// A connection was refused. The server's words name no command, as they do not say who we are.
    pub(super) fn at_login(error: tokio_postgres::Error, role: &str, database: &str) -> Self {
        if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            return Self::Setup(format!(
                "the role {role} may not connect to the database {database}; as its owner run: \
                 GRANT CONNECT ON DATABASE {database} TO {role};",
                role = identifier(role),
                database = identifier(database),
            ));
        }
        error.into()
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            return Self::Unavailable(outermost(&error));
        };
        // Of a session and not of a statement: it was not opened, or it is ended.
        if refusal.parsed_severity() == Some(Severity::Fatal) {
            return session_refused(refusal);
        }
        let code = refusal.code();
        // 40001, 40P01: the loser of a race.
        if [
            &SqlState::T_R_SERIALIZATION_FAILURE,
            &SqlState::T_R_DEADLOCK_DETECTED,
        ]
        .contains(&code)
        {
            return Self::Conflict(code.code().to_owned());
        }
        // 57014, 55P03: our own time limits. Where it waited the server adds itself, with the data.
        if *code == SqlState::QUERY_CANCELED {
            return Self::Slow(format!(
                "a statement took too long (SQLSTATE {})",
                code.code()
            ));
        }
        if *code == SqlState::LOCK_NOT_AVAILABLE {
            return Self::Slow(format!(
                "somebody's lock was not given up in time (SQLSTATE {})",
                code.code()
            ));
        }
        // Nobody but us prepares statements in our sessions; see `store::pooler`.
        if [
            &SqlState::INVALID_SQL_STATEMENT_NAME,
            &SqlState::DUPLICATE_PSTATEMENT,
        ]
        .contains(&code)
        {
            return Self::statements_get_lost();
        }
        if refusal.routine() == Some(STALE_STATEMENT) {
            return Self::Unavailable("a table was altered under a prepared statement".to_owned());
        }
        if *code == SqlState::NOT_NULL_VIOLATION {
            return not_null(refusal);
        }
        match &code.code()[..2] {
            // Connection (of a foreign table), transaction state (read-only), rollback, resources,
            // not in the right state, operator, system, configuration file.
            "08" | "25" | "40" | "53" | "55" | "57" | "58" | "F0" => Self::Unwell(words(refusal)),
            // Feature, grantor, role, cursor, trigger, name, authorization, transaction end,
            // routine, savepoint, catalogue, schema, syntax or right, foreign table, internal.
            "0A" | "0L" | "0P" | "24" | "26" | "27" | "28" | "2D" | "2F" | "34" | "38" | "39"
            | "3B" | "3D" | "3F" | "42" | "HV" | "XX" => denied(refusal),
            // Cardinality, data, integrity, check option, over a limit, and whatever a trigger may
            // raise.
            _ => Self::Refused(code.code().to_owned()),
        }
    }
}

fn session_refused(refusal: &DbError) -> StoreError {
    let code = refusal.code().code();
    match &code[..2] {
        "28" | "3D" | "42" => StoreError::Setup(format!(
            "PostgreSQL refuses the login: {}; check DATABASE_URL",
            refusal.message()
        )),
        _ => StoreError::Unavailable(words(refusal)),
    }
}

fn not_null(refusal: &DbError) -> StoreError {
    match refusal.column() {
        Some(column) if !NULLABLE.contains(&column) => StoreError::Denied {
            code: refusal.code().code().to_owned(),
            words: format!(
                "the column {} of {} must not be null, and nothing writes it: give it a default",
                identifier(column),
                refusal
                    .table()
                    .map_or_else(|| "a table".to_owned(), identifier),
            ),
        },
        _ => StoreError::Refused(refusal.code().code().to_owned()),
    }
}

fn denied(refusal: &DbError) -> StoreError {
    let code = refusal.code();
    let is_schema_old = [
        &SqlState::UNDEFINED_TABLE,
        &SqlState::UNDEFINED_COLUMN,
        &SqlState::INVALID_SCHEMA_NAME,
    ]
    .contains(&code);
    let words = if is_schema_old && refusal.where_().is_none() {
        "the schema is missing or older than this program: run `profile-worker migrate`".to_owned()
    } else {
        words(refusal)
    };
    StoreError::Denied {
        code: code.code().to_owned(),
        words,
    }
}

/// The server's words, if they are its own: what comes out of a trigger or a function, which always
/// has a context, may quote the data.
fn words(refusal: &DbError) -> String {
    let code = refusal.code().code();
    match refusal.where_() {
        None => format!("PostgreSQL says: {} (SQLSTATE {code})", refusal.message()),
        Some(_) => format!(
            "PostgreSQL fails in the middle of a statement (SQLSTATE {code}); its log says where"
        ),
    }
}

/// A name as SQL writes it, whatever is in it.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_so_that_it_can_stand_in_a_command() {
        assert_eq!(identifier("worker"), r#""worker""#);
        assert_eq!(identifier(r#"a "b" c"#), r#""a ""b"" c""#);
    }
}
