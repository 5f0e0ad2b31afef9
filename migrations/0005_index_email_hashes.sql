-- Rows without an email, and those that are not filled yet, have no entry. The database first: an import
-- into one database touches the pages of that one only.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS profiles_email_hash_unique
    ON profiles (db_id, email_hash) WHERE email_hash IS NOT NULL
