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
        match error.as_db_error() {
            Some(refusal) => Refusal::from(refusal).judge(),
            None => Self::Unavailable(outermost(&error)),
        }
    }
}

/// What PostgreSQL says when it refuses something, as far as it counts.
struct Refusal<'e> {
    code: &'e SqlState,
    /// Of a session and not of a statement: it was not opened, or it is ended.
    is_fatal: bool,
    message: &'e str,
    /// It comes out of a trigger or a function.
    has_context: bool,
    /// The function of PostgreSQL that refused.
    routine: Option<&'e str>,
    table: Option<&'e str>,
    column: Option<&'e str>,
}

impl<'e> From<&'e DbError> for Refusal<'e> {
    fn from(refusal: &'e DbError) -> Self {
        Self {
            code: refusal.code(),
            is_fatal: refusal.parsed_severity() == Some(Severity::Fatal),
            message: refusal.message(),
            has_context: refusal.where_().is_some(),
            routine: refusal.routine(),
            table: refusal.table(),
            column: refusal.column(),
        }
    }
}

impl Refusal<'_> {
    /// What a refusal means for the worker.
    fn judge(&self) -> StoreError {
        let code = self.code.code();
        let is = |states: &[&SqlState]| states.contains(&self.code);
        if self.is_fatal {
            return self.session_refused();
        }
        // 40001, 40P01: the loser of a race.
        if is(&[
            &SqlState::T_R_SERIALIZATION_FAILURE,
            &SqlState::T_R_DEADLOCK_DETECTED,
        ]) {
            return StoreError::Conflict(code.to_owned());
        }
        // 57014, 55P03: our own time limits. Where it waited the server adds itself, with the data.
        if is(&[&SqlState::QUERY_CANCELED]) {
            return StoreError::Slow(format!("a statement took too long (SQLSTATE {code})"));
        }
        if is(&[&SqlState::LOCK_NOT_AVAILABLE]) {
            return StoreError::Slow(format!(
                "somebody's lock was not given up in time (SQLSTATE {code})"
            ));
        }
        // Nobody but us prepares statements in our sessions; see `store::pooler`.
        if is(&[
            &SqlState::INVALID_SQL_STATEMENT_NAME,
            &SqlState::DUPLICATE_PSTATEMENT,
        ]) {
            return StoreError::statements_get_lost();
        }
        if self.routine == Some(STALE_STATEMENT) {
            let words = "a table was altered under a prepared statement";
            return StoreError::Unavailable(words.to_owned());
        }
        if is(&[&SqlState::NOT_NULL_VIOLATION]) {
            return self.not_null();
        }
        match &code[..2] {
            // Connection (of a foreign table), transaction state (read-only), rollback, resources,
            // not in the right state, operator, system, configuration file.
            "08" | "25" | "40" | "53" | "55" | "57" | "58" | "F0" => {
                StoreError::Unwell(self.words())
            }
            // Feature, grantor, role, cursor, trigger, name, authorization, transaction end,
            // routine, savepoint, catalogue, schema, syntax or right, foreign table, internal.
            "0A" | "0L" | "0P" | "24" | "26" | "27" | "28" | "2D" | "2F" | "34" | "38" | "39"
            | "3B" | "3D" | "3F" | "42" | "HV" | "XX" => self.denied(),
            // Cardinality, data, integrity, check option, over a limit, and whatever a trigger may
            // raise.
            _ => StoreError::Refused(code.to_owned()),
        }
    }

    fn session_refused(&self) -> StoreError {
        match &self.code.code()[..2] {
            "28" | "3D" | "42" => StoreError::Setup(format!(
                "PostgreSQL refuses the login: {}; check DATABASE_URL",
                self.message
            )),
            _ => StoreError::Unavailable(self.words()),
        }
    }

    fn not_null(&self) -> StoreError {
        let code = self.code.code().to_owned();
        match self.column {
            Some(column) if !NULLABLE.contains(&column) => StoreError::Denied {
                code,
                words: format!(
                    "the column {} of {} must not be null, and nothing writes it: give it a default",
                    identifier(column),
                    self.table.map_or_else(|| "a table".to_owned(), identifier),
                ),
            },
            _ => StoreError::Refused(code),
        }
    }

    fn denied(&self) -> StoreError {
        let is_schema_old = [
            &SqlState::UNDEFINED_TABLE,
            &SqlState::UNDEFINED_COLUMN,
            &SqlState::INVALID_SCHEMA_NAME,
        ]
        .contains(&self.code);
        let words = if is_schema_old && !self.has_context {
            "the schema is missing or older than this program: run `profile-worker migrate`"
                .to_owned()
        } else {
            self.words()
        };
        StoreError::Denied {
            code: self.code.code().to_owned(),
            words,
        }
    }

    /// The server's words, if they are its own: what comes out of a trigger or a function, which
    /// always has a context, may quote the data.
    fn words(&self) -> String {
        let code = self.code.code();
        if self.has_context {
            format!(
                "PostgreSQL fails in the middle of a statement (SQLSTATE {code}); its log says \
                 where"
            )
        } else {
            format!("PostgreSQL says: {} (SQLSTATE {code})", self.message)
        }
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

    fn refused(code: &str, change: impl FnOnce(&mut Refusal<'_>)) -> StoreError {
        let code = SqlState::from_code(code);
        let mut refusal = Refusal {
            code: &code,
            is_fatal: false,
            message: "words",
            has_context: false,
            routine: None,
            table: None,
            column: None,
        };
        change(&mut refusal);
        refusal.judge()
    }

    /// The first letter of what follows: Unavailable, unWell, sEtup, Denied, Slow, Conflict,
    /// Refused.
    fn letter(error: &StoreError) -> char {
        match error {
            StoreError::Unavailable(_) => 'U',
            StoreError::Unwell(_) => 'W',
            StoreError::Setup(_) => 'E',
            StoreError::Denied { .. } => 'D',
            StoreError::Slow(_) => 'S',
            StoreError::Conflict(_) => 'C',
            StoreError::Refused(_) => 'R',
        }
    }

    #[test]
    fn each_state_of_a_statement_has_its_consequence() {
        for (consequence, codes) in [
            ('C', &["40001", "40P01"][..]),
            ('S', &["57014", "55P03"]),
            ('E', &["26000", "42P05"]),
            (
                'W',
                &[
                    "08006", "25006", "40003", "53100", "53200", "55000", "57P03", "58030", "F0000",
                ],
            ),
            (
                'D',
                &[
                    "0A000", "28000", "42501", "42P01", "42703", "3F000", "42601", "HV000", "XX000",
                ],
            ),
            (
                'R',
                &[
                    "21000", "22001", "22P02", "23505", "23514", "44000", "54000", "P0001", "23502",
                ],
            ),
        ] {
            for code in codes {
                let error = refused(code, |_| {});
                assert_eq!(letter(&error), consequence, "{code}: {error}");
            }
        }
    }

    #[test]
    fn a_refused_session_is_a_fault_of_the_setup_or_a_server_that_is_away() {
        for (code, consequence) in [
            ("28P01", 'E'),
            ("3D000", 'E'),
            ("42501", 'E'),
            ("53300", 'U'),
            ("57P01", 'U'),
            ("57P03", 'U'),
        ] {
            let error = refused(code, |refusal| refusal.is_fatal = true);
            assert_eq!(letter(&error), consequence, "{code}: {error}");
        }
    }

    #[test]
    fn a_column_that_no_request_can_fill_is_a_fault_of_the_setup() {
        let error = refused("23502", |refusal| {
            (refusal.table, refusal.column) = (Some("profiles"), Some("tenant"));
        });
        assert_eq!(letter(&error), 'D');
        let text = error.to_string();
        assert!(text.contains(r#"column "tenant" of "profiles""#), "{text}");
        let ours = refused("23502", |refusal| refusal.column = Some("email"));
        assert_eq!(letter(&ours), 'R');
    }

    #[test]
    fn words_that_may_quote_the_data_are_left_out() {
        for code in ["42501", "53100", "57P03"] {
            let own = refused(code, |_| {}).to_string();
            assert!(own.contains("words") && own.contains(code), "{own}");
            let quoting = refused(code, |refusal| refusal.has_context = true).to_string();
            assert!(
                !quoting.contains("words") && quoting.contains(code),
                "{quoting}"
            );
        }
    }

    #[test]
    fn a_statement_that_became_stale_is_prepared_anew() {
        let error = refused("0A000", |refusal| refusal.routine = Some(STALE_STATEMENT));
        assert_eq!(letter(&error), 'U');
    }

    #[test]
    fn a_name_is_quoted_so_that_it_can_stand_in_a_command() {
        assert_eq!(identifier("worker"), r#""worker""#);
        assert_eq!(identifier(r#"a "b" c"#), r#""a ""b"" c""#);
    }
}
