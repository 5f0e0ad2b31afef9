-- Profiles of the tenant that is measured, with a subscription each.
INSERT INTO profiles (db_id, id, email, data, request_id, created_at)
SELECT 1, lpad(to_hex(1700000000 + i / 100), 8, '0') || lpad(to_hex(i), 16, '0'), 'person' || i || '@example.org',
       '{"_fname": "John", "_lname": "Doe", "_city": "Berlin"}', sha256(i::text::bytea), now()
FROM generate_series(1, COUNT) i;
INSERT INTO subscriptions (db_id, profile_id, position, resource_id, channel, address, status)
SELECT 1, id, 0, 1, 'email', email, 'subscribed' FROM profiles;
CHECKPOINT;
