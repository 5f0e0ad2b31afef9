-- Custom fields that an operator has defined: requests that have them are checked by them. A strict
-- database takes no others.
ALTER TABLE databases ADD COLUMN strict boolean NOT NULL DEFAULT false;

CREATE TABLE fields (
    db_id      bigint      NOT NULL REFERENCES databases ON DELETE CASCADE,
    name       text        NOT NULL CHECK (name <> ''),
    type       text        NOT NULL CHECK (
        type IN ('string', 'integer', 'number', 'boolean', 'date', 'date-time', 'strings', 'object')
    ),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (db_id, name)
);

CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON fields
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();
