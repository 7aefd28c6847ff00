-- The first schema. Times are microseconds since 1970, UTC. A statement ends
-- with a semicolon at the end of a line. $id, $blob and $serial are types that
-- differ between the databases: see dialect.go.

CREATE TABLE runs (
  id              $id PRIMARY KEY,
  state           TEXT NOT NULL,
  cause           TEXT NOT NULL,
  explanation     TEXT NOT NULL,
  control         TEXT NOT NULL,
  acknowledged    BIGINT NOT NULL, -- failures that a person has resumed over
  held            BIGINT NOT NULL, -- 1: the pause after the first batch has been made
  scenario        TEXT NOT NULL,
  digest          TEXT NOT NULL,
  kind            TEXT NOT NULL,
  service         TEXT NOT NULL,
  environment     TEXT NOT NULL,
  project         TEXT NOT NULL,
  host_group      TEXT NOT NULL,
  params          TEXT NOT NULL,
  actor           TEXT NOT NULL,
  via             TEXT NOT NULL,
  reason          TEXT NOT NULL,
  ticket          TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  epoch           BIGINT NOT NULL,
  version         BIGINT NOT NULL,
  owner           TEXT NOT NULL,
  lease_until     BIGINT NOT NULL,
  created_at      BIGINT NOT NULL,
  started_at      BIGINT,
  finished_at     BIGINT
);
CREATE UNIQUE INDEX runs_idempotency ON runs (actor, idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX runs_state ON runs (state, id);
CREATE INDEX runs_service ON runs (service, id);
CREATE INDEX runs_service_state ON runs (service, state, id);
CREATE INDEX runs_actor ON runs (actor, id);
CREATE INDEX runs_actor_state ON runs (actor, state, id);
CREATE INDEX runs_created ON runs (created_at);
CREATE INDEX runs_owner ON runs (owner) WHERE owner <> '';

-- Apart from runs, so that lists do not wade through them.
CREATE TABLE plans (
  run_id $id PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
  plan   $blob NOT NULL
);

CREATE TABLE tasks (
  id          $id PRIMARY KEY,
  run_id      $id NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  service     TEXT NOT NULL,
  host        TEXT NOT NULL,
  position    BIGINT NOT NULL,
  batch       BIGINT NOT NULL,
  attempt     BIGINT NOT NULL,
  state       TEXT NOT NULL,
  cause       TEXT NOT NULL,
  phase       TEXT NOT NULL,
  error       TEXT NOT NULL,
  exit_code   BIGINT,
  drained     BIGINT NOT NULL,
  started_at  BIGINT,
  finished_at BIGINT,
  version     BIGINT NOT NULL,
  held        BIGINT NOT NULL, -- 1: the agent may hold this task and is to be told to forget it
  UNIQUE (run_id, host, attempt)
);
-- One active task per service and host, whatever else goes wrong.
CREATE UNIQUE INDEX tasks_active ON tasks (service, host) WHERE state IN ('intent_logged', 'dispatching', 'accepted', 'running');
CREATE INDEX tasks_version ON tasks (run_id, version);
CREATE INDEX tasks_host ON tasks (host, run_id);
CREATE INDEX tasks_held ON tasks (id) WHERE held = 1;

CREATE TABLE task_details (
  task_id  $id PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
  envelope $blob,
  detail   $blob
);

-- received counts every byte the agent told of, dropped ones included.
CREATE TABLE outputs (
  task_id  $id PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
  received BIGINT NOT NULL
);
CREATE TABLE output_chunks (
  task_id    $id NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  start_byte BIGINT NOT NULL,
  end_byte   BIGINT NOT NULL,
  body       $blob NOT NULL,
  PRIMARY KEY (task_id, start_byte)
);

CREATE TABLE service_locks (
  service     TEXT NOT NULL,
  environment TEXT NOT NULL,
  run_id      $id NOT NULL REFERENCES runs (id),
  since       BIGINT NOT NULL,
  PRIMARY KEY (service, environment)
);
CREATE INDEX service_locks_run ON service_locks (run_id);

CREATE TABLE scenarios (
  digest    TEXT PRIMARY KEY,
  name      TEXT NOT NULL,
  serial    BIGINT NOT NULL,
  body      $blob NOT NULL,
  stored_at BIGINT NOT NULL
);

CREATE TABLE tokens (
  id           TEXT PRIMARY KEY,
  name         TEXT NOT NULL,
  owner        TEXT NOT NULL,
  roles        TEXT NOT NULL,
  hash         TEXT NOT NULL UNIQUE,
  created_at   BIGINT NOT NULL,
  expires_at   BIGINT NOT NULL,
  last_used_at BIGINT NOT NULL,
  revoked_at   BIGINT NOT NULL
);
CREATE INDEX tokens_owner ON tokens (owner);

CREATE TABLE sessions (
  hash         TEXT PRIMARY KEY,
  owner        TEXT NOT NULL,
  token_id     TEXT NOT NULL,
  roles        TEXT NOT NULL,
  created_at   BIGINT NOT NULL,
  last_seen_at BIGINT NOT NULL,
  expires_at   BIGINT NOT NULL
);
CREATE INDEX sessions_token ON sessions (token_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE certificates (
  serial     TEXT PRIMARY KEY,
  host       TEXT NOT NULL,
  issued_at  BIGINT NOT NULL,
  not_after  BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL
);

-- seq is NULL until the record has its place in the trail of its source.
CREATE TABLE audit_records (
  id      $serial,
  source  TEXT NOT NULL,
  seq     BIGINT,
  actor   TEXT NOT NULL,
  action  TEXT NOT NULL,
  run_id  TEXT NOT NULL,
  service TEXT NOT NULL,
  body    $blob NOT NULL
);
CREATE INDEX audit_pending ON audit_records (id) WHERE seq IS NULL;
CREATE UNIQUE INDEX audit_place ON audit_records (source, seq) WHERE seq IS NOT NULL;
CREATE INDEX audit_run ON audit_records (run_id, id);
CREATE INDEX audit_actor ON audit_records (actor, id);
CREATE INDEX audit_action ON audit_records (action, id);
CREATE INDEX audit_service ON audit_records (service, id);

CREATE TABLE audit_heads (
  source TEXT PRIMARY KEY,
  epoch  BIGINT NOT NULL,
  seq    BIGINT NOT NULL,
  hash   TEXT NOT NULL
);

CREATE TABLE audit_cursors (
  sink   TEXT NOT NULL,
  source TEXT NOT NULL,
  seq    BIGINT NOT NULL,
  PRIMARY KEY (sink, source)
);
