-- What keeps an email unique is computed by the worker, the same under every locale. Until now the
-- database did it, by lower() of its own locale (email_key).
--
-- Expand: the new column stands beside the old one, and both are unique. `profile-worker email fill`
-- fills it for the rows that are there, `profile-worker email contract` removes the old one.
ALTER TABLE profiles
    -- The first 16 bytes of the SHA-256 of the email's canonical form (docs/email.md). uuid is the type
    -- that holds 16 bytes and nothing else. A profile whose email another one has, or whose email is no
    -- address, has a hash of its own: see email_conflicts.
    ADD COLUMN IF NOT EXISTS email_hash uuid;

-- The rule that hashes were made by. Another build of the worker may know a newer Unicode.
CREATE TABLE email_rule (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- for people
    unicode  text    NOT NULL,
    -- SHA-256 of the hashes of some thousand examples: rules that have the same are the same
    checksum bytea   NOT NULL CHECK (octet_length(checksum) = 32)
);

-- Profiles from before the rule that can't have the hash of their email.
CREATE TABLE email_conflicts (
    db_id      bigint      NOT NULL,
    profile_id text        COLLATE "C" NOT NULL,
    -- in words, for people
    reason     text        NOT NULL,
    -- the profile that has the hash, where that is the reason
    other_id   text        COLLATE "C",
    found_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (db_id, profile_id)
);

-- The hash of an address of ASCII letters, to look a profile up by:
--   SELECT * FROM profiles WHERE db_id = 1 AND email_hash = hash_of_email('John@example.com');
-- NULL for any other: `profile-worker email hash` knows those.
CREATE FUNCTION hash_of_email(address text) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length(address) = char_length(address) AND position('xn--' IN lower(address COLLATE "C")) = 0
                THEN encode(substr(sha256(convert_to(lower(btrim(address) COLLATE "C"), 'UTF8')), 1, 16), 'hex')::uuid END
$$;

-- An email that is changed by hand must not keep the hash of the old one.
CREATE FUNCTION email_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.email_hash IS NOT DISTINCT FROM OLD.email_hash
            AND lower(btrim(NEW.email) COLLATE "C") IS DISTINCT FROM lower(btrim(OLD.email) COLLATE "C") THEN
        RAISE EXCEPTION 'the email of a profile is changed together with its email_hash'
            USING HINT = 'run `profile-worker email set`, or set email_hash = hash_of_email(''…'') as well';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER email_changed BEFORE UPDATE OF email ON profiles
    FOR EACH ROW EXECUTE FUNCTION email_changed();

-- A dump is restored with an empty search_path: so the table is named with the schema of the one that
-- was changed.
CREATE OR REPLACE FUNCTION directory_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('UPDATE %I.directory_version SET version = version + 1', TG_TABLE_SCHEMA);
    PERFORM pg_notify('profile_worker_directory', '');
    RETURN NULL;
END
$$;
