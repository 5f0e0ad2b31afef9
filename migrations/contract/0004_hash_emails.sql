-- Contract: what 0004 has expanded. Run by `profile-worker email contract`, and by `migrate` where it
-- makes a schema anew. A worker from before 0004 can store nothing after this, as it names the old
-- column, and loses nothing: what it has taken goes back to the queue.
ALTER TABLE profiles
    DROP COLUMN email_key,
    -- Not looked at for the rows that are there: that takes long, and comes after this.
    ADD CONSTRAINT profiles_email_hashed CHECK ((email IS NULL) = (email_hash IS NULL)) NOT VALID;
-- Running workers look at once.
UPDATE directory_version SET version = version + 1;
SELECT pg_notify('profile_worker_directory', '')
