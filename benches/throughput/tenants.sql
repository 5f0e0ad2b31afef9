-- 10,000 tenants more, with ten tokens and ten resources each.
INSERT INTO databases (name) SELECT 'tenant ' || i FROM generate_series(1, 10000) i;
INSERT INTO resources (db_id, name, channels)
SELECT d.id, 'resource ' || i, '{email,sms}' FROM databases d, generate_series(1, 10) i WHERE d.id > 1;
INSERT INTO api_tokens (name, token_hash, all_databases)
SELECT 'token ' || i, sha256(i::text::bytea), false FROM generate_series(1, 100000) i;
INSERT INTO api_token_databases (token_id, db_id)
SELECT t.id, 2 + t.id % 10000 FROM api_tokens t WHERE t.name LIKE 'token %';
