//! The migrations that this program knows: numbered SQL files, embedded in it.

/// One file of `migrations/`.
pub(super) struct Migration {
    /// In its name and in `schema_migrations`.
    pub(super) number: i32,
    /// The rest of its name.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) sql: &'static str,
    /// The index that it builds while others go on writing, which no transaction can do: the file
    /// holds this one statement. `None`: it runs in a transaction.
    pub(super) concurrently: Option<&'static str>,
}

const fn in_transaction(number: i32, name: &'static str, sql: &'static str) -> Migration {
    Migration {
        number,
        name,
        sql,
        concurrently: None,
    }
}

/// All of them, numbered from 1 without gaps.
pub(super) const MIGRATIONS: &[Migration] = &[
    in_transaction(
        1,
        "create_schema",
        include_str!("../../migrations/0001_create_schema.sql"),
    ),
    in_transaction(
        2,
        "define_fields",
        include_str!("../../migrations/0002_define_fields.sql"),
    ),
    in_transaction(
        3,
        "keep_suspects",
        include_str!("../../migrations/0003_keep_suspects.sql"),
    ),
    in_transaction(
        4,
        "hash_emails",
        include_str!("../../migrations/0004_hash_emails.sql"),
    ),
    Migration {
        number: 5,
        name: "index_email_hashes",
        sql: include_str!("../../migrations/0005_index_email_hashes.sql"),
        concurrently: Some("profiles_email_hash_unique"),
    },
];

/// The number of the last one: the schema version that this program needs.
pub(super) fn last_number() -> i32 {
    MIGRATIONS.last().map_or(0, |migration| migration.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_registered_under_its_number() {
        let mut files: Vec<_> =
            std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.ends_with(".sql"))
                .collect();
        files.sort();
        let registered: Vec<_> = MIGRATIONS
            .iter()
            .map(|m| format!("{:04}_{}.sql", m.number, m.name))
            .collect();
        assert_eq!(registered, files);
        assert!(
            MIGRATIONS
                .iter()
                .zip(1..)
                .all(|(m, number)| m.number == number)
        );
    }
}
