-- Requests that may have ended a worker: delivered several times, and then taken alone. A row says how
-- often one was begun alone and not finished; after three times it is given up. The table is empty
-- while all is well.
CREATE TABLE suspects (
    -- identity of the request, made as that of its profiles is
    request_id bytea       PRIMARY KEY CHECK (octet_length(request_id) = 16),
    begun      integer     NOT NULL,
    begun_at   timestamptz NOT NULL
);
