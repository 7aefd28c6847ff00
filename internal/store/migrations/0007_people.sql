-- People: who they are, by which method they sign in, what their sessions and
-- tokens carry, and requests of command lines to be signed in.

-- One row for each person that was ever seen. password, a PHC string, is of
-- local users only. teams are the groups as the method told them at teams_at.
CREATE TABLE users (
  name        TEXT PRIMARY KEY,
  method      TEXT NOT NULL,
  subject     TEXT NOT NULL,
  display     TEXT NOT NULL,
  mail        TEXT NOT NULL,
  roles       TEXT NOT NULL,   -- JSON list: those that an admin gave
  teams       TEXT NOT NULL,   -- JSON list
  teams_at    BIGINT NOT NULL,
  password    TEXT NOT NULL,
  password_at BIGINT NOT NULL, -- 0 = none was ever set
  created_at  BIGINT NOT NULL,
  disabled_at BIGINT NOT NULL  -- 0 = may sign in
);

-- scope is '' for a token that is bounded by its roles alone; otherwise JSON.
ALTER TABLE tokens ADD COLUMN scope TEXT NOT NULL DEFAULT '';

-- Sessions of before had no id to be named by: everybody signs in again.
DELETE FROM sessions;
ALTER TABLE sessions ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN method TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN teams TEXT NOT NULL DEFAULT '[]';
ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX sessions_id ON sessions (id);
CREATE INDEX sessions_owner ON sessions (owner);

-- A command line that waits to be signed in. Of both its secret and the code
-- that a person types only the SHA-256 is kept.
CREATE TABLE login_requests (
  hash         TEXT PRIMARY KEY, -- of the secret
  code_hash    TEXT NOT NULL UNIQUE,
  address      TEXT NOT NULL,
  client       TEXT NOT NULL,    -- what it says of itself
  created_at   BIGINT NOT NULL,
  expires_at   BIGINT NOT NULL,
  confirmed_by TEXT NOT NULL,    -- '' = nobody yet
  roles        TEXT NOT NULL,    -- JSON list: what was confirmed
  refused_at   BIGINT NOT NULL,  -- 0 = not
  token_ends   BIGINT NOT NULL   -- as it was confirmed
);
CREATE INDEX login_requests_expiry ON login_requests (expires_at);
