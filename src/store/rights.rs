//! The rights that a running worker needs, whether its role has them, and the commands that grant
//! those that are missing. `docs/faults.md` lists them for operators.

use super::error::{StoreError, identifier};
use super::pool::Store;

/// A right to a table.
struct Right {
    table: &'static str,
    privilege: &'static str,
    /// If it is needed for one column alone.
    column: Option<&'static str>,
}

const fn right(privilege: &'static str, table: &'static str) -> Right {
    Right {
        table,
        privilege,
        column: None,
    }
}

/// What the statements in `store` need, those of the operator's commands left out.
const NEEDED: &[Right] = &[
    right("SELECT", "schema_migrations"),
    right("SELECT", "email_rule"),
    right("SELECT", "directory_version"),
    right("SELECT", "databases"),
    right("SELECT", "resources"),
    right("SELECT", "fields"),
    right("SELECT", "api_tokens"),
    right("SELECT", "api_token_databases"),
    right("SELECT", "profiles"),
    right("INSERT", "profiles"),
    Right {
        table: "profiles",
        privilege: "UPDATE",
        column: Some("request_id"),
    },
    right("INSERT", "subscriptions"),
    right("SELECT", "suspects"),
    right("INSERT", "suspects"),
    right("UPDATE", "suspects"),
    right("DELETE", "suspects"),
];

/// For each right: who we are, the table as SQL names it (NULL if there is none), its schema,
/// whether the schema is open to us, and whether we have the right.
///
/// A table in a schema that is closed to us is not found by its name, but stands in the catalogue.
/// A right to some columns will do here: which ones a statement needs, the statement tells.
const LOOK: &str = r#"
WITH searched AS (
    SELECT CASE name WHEN '"$user"' THEN current_user ELSE btrim(name, '"') END AS name
    FROM unnest(regexp_split_to_array(current_setting('search_path'), '\s*,\s*')) AS name
)
SELECT current_user::text, found.oid::regclass::text, space.nspname::text,
       has_schema_privilege(space.oid, 'USAGE'),
       CASE WHEN needed."column" IS NOT NULL THEN has_column_privilege(found.oid, needed."column", privilege)
            WHEN privilege = 'DELETE' THEN has_table_privilege(found.oid, privilege)
            ELSE has_any_column_privilege(found.oid, privilege) END
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS needed (name, privilege, "column", ordinal)
LEFT JOIN LATERAL (
    SELECT coalesce(to_regclass(needed.name)::oid, (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname = needed.name AND c.relkind IN ('r', 'p', 'v', 'f')
          AND n.nspname IN (SELECT name FROM searched) AND NOT has_schema_privilege(n.oid, 'USAGE')
        LIMIT 1
    )) AS oid
) AS found ON true
LEFT JOIN pg_class ON pg_class.oid = found.oid
LEFT JOIN pg_namespace space ON space.oid = pg_class.relnamespace
ORDER BY ordinal"#;

/// What a worker lacks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lacks {
    role: String,
    /// Schemas that are closed to it.
    schemas: Vec<String>,
    /// Rights to each table, by the name that SQL has for it.
    rights: Vec<(String, Vec<String>)>,
    /// Tables that are not there.
    tables: Vec<&'static str>,
}

impl Lacks {
    fn add(&mut self, right: &Right, row: &tokio_postgres::Row) {
        let (Some(table), Some(schema)) = (
            row.get::<_, Option<String>>(1),
            row.get::<_, Option<String>>(2),
        ) else {
            if !self.tables.contains(&right.table) {
                self.tables.push(right.table);
            }
            return;
        };
        if !row.get::<_, bool>(3) && !self.schemas.contains(&schema) {
            self.schemas.push(schema);
        }
        if row.get::<_, Option<bool>>(4) == Some(true) {
            return;
        }
        let privilege = match right.column {
            Some(column) => format!("{} ({column})", right.privilege),
            None => right.privilege.to_owned(),
        };
        match self.rights.iter_mut().find(|(name, _)| *name == table) {
            Some((_, privileges)) => privileges.push(privilege),
            None => self.rights.push((table, vec![privilege])),
        }
    }

    /// What grants it all.
    fn commands(&self) -> String {
        let role = identifier(&self.role);
        let schemas = self
            .schemas
            .iter()
            .map(|name| format!("GRANT USAGE ON SCHEMA {} TO {role};", identifier(name)));
        let rights = self.rights.iter().map(|(table, privileges)| {
            let privileges = privileges.join(", ");
            format!("GRANT {privileges} ON {table} TO {role};")
        });
        schemas.chain(rights).collect::<Vec<_>>().join(" ")
    }

    /// As an error, if anything is missing.
    fn judge(&self) -> Result<(), StoreError> {
        if !self.schemas.is_empty() || !self.rights.is_empty() {
            return Err(StoreError::Setup(format!(
                "the role {} lacks rights in PostgreSQL; as the owner of the tables run: {}",
                identifier(&self.role),
                self.commands()
            )));
        }
        if !self.tables.is_empty() {
            return Err(StoreError::Setup(format!(
                "these tables are missing: {}; run `profile-worker migrate`, or if it finds nothing to do restore them",
                self.tables.join(", ")
            )));
        }
        Ok(())
    }
}

impl Store {
    /// Whether the role has all rights that a running worker needs.
    ///
    /// # Errors
    ///
    /// [`StoreError::Setup`] names all that are missing with the commands that grant them; other
    /// errors say that they could not be looked at.
    pub async fn check_rights(&self) -> Result<(), StoreError> {
        self.look_at_rights().await?.judge()
    }

    /// Checks the rights to look at the schema, where there may be no tables yet.
    pub(super) async fn check_rights_to_see(&self) -> Result<(), StoreError> {
        Lacks {
            tables: Vec::new(),
            ..self.look_at_rights().await?
        }
        .judge()
    }

    /// Explains the failure of a statement that carries nothing of a message: it is a fault of the
    /// setup, and the error says which.
    pub(super) async fn explained<T>(
        &self,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match result {
            Err(StoreError::Denied { words, .. }) => {
                self.check_rights().await?;
                Err(StoreError::Setup(words))
            }
            other => other,
        }
    }

    async fn look_at_rights(&self) -> Result<Lacks, StoreError> {
        let lease = self.lease().await?;
        let names: Vec<_> = NEEDED.iter().map(|right| right.table).collect();
        let privileges: Vec<_> = NEEDED.iter().map(|right| right.privilege).collect();
        let columns: Vec<_> = NEEDED.iter().map(|right| right.column).collect();
        let statement = lease.prepare(LOOK).await?;
        let rows = lease
            .query("rights", &statement, &[&names, &privileges, &columns])
            .await?;
        lease.give_back();
        let mut lacks = Lacks::default();
        for (right, row) in NEEDED.iter().zip(&rows) {
            lacks.role = row.get(0);
            lacks.add(right, row);
        }
        Ok(lacks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_named_with_the_commands_that_grant_it() {
        let rights = vec![
            (
                "profiles".to_owned(),
                vec!["INSERT".to_owned(), "UPDATE (request_id)".to_owned()],
            ),
            ("subscriptions".to_owned(), vec!["INSERT".to_owned()]),
        ];
        let lacks = Lacks {
            role: "worker".to_owned(),
            schemas: vec!["public".to_owned()],
            rights,
            tables: vec!["suspects"],
        };
        assert_eq!(
            lacks.judge().unwrap_err().to_string(),
            "the role \"worker\" lacks rights in PostgreSQL; as the owner of the tables run: \
             GRANT USAGE ON SCHEMA \"public\" TO \"worker\"; \
             GRANT INSERT, UPDATE (request_id) ON profiles TO \"worker\"; \
             GRANT INSERT ON subscriptions TO \"worker\";"
        );
        let lacks = Lacks {
            tables: vec!["fields", "suspects"],
            ..Lacks::default()
        };
        assert!(
            lacks
                .judge()
                .unwrap_err()
                .to_string()
                .starts_with("these tables are missing: fields, suspects; run")
        );
        assert!(Lacks::default().judge().is_ok());
    }
}
