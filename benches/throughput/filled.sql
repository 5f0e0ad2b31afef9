-- Profiles with a subscription each, a part of them of the tenant that is measured.
INSERT INTO profiles (db_id, id, email, EMAIL_HASH data, request_id, created_at)
SELECT 1 + i % DATABASES, lpad(to_hex(1700000000 + i / 100), 8, '0') || lpad(to_hex(i), 16, '0'), email, HASH_OF_EMAIL
       '{"_fname": "John", "_lname": "Doe", "_city": "Berlin"}', sha256(i::text::bytea), now()
FROM generate_series(1, COUNT) i, concat('person', i, '@example.org') AS email;
INSERT INTO subscriptions (db_id, profile_id, position, resource_id, channel, address, status)
SELECT db_id, id, 0, 1, 'email', email, 'subscribed' FROM profiles;
CHECKPOINT;
