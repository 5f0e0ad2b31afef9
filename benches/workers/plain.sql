-- What the reference workers store in: plain tables, without foreign keys, which would only slow
-- them down.
CREATE TABLE profiles (
    id         text        COLLATE "C" PRIMARY KEY,
    db_id      bigint      NOT NULL,
    email      text        COLLATE "C" NOT NULL,
    first_name text,
    last_name  text,
    city       text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (db_id, email)
);

CREATE TABLE subscriptions (
    profile_id  text   COLLATE "C" NOT NULL,
    resource_id bigint NOT NULL,
    channel     text   NOT NULL,
    address     text   NOT NULL,
    PRIMARY KEY (profile_id, resource_id, channel, address)
);
