-- The locks that are shared with others, as runs have them or wait for them.
CREATE TABLE outside_locks (
  run_id $id NOT NULL REFERENCES runs (id),
  name   TEXT NOT NULL,
  kind   TEXT NOT NULL,
  place  TEXT NOT NULL,
  state  TEXT NOT NULL,
  note   TEXT NOT NULL,
  server TEXT NOT NULL,
  since  BIGINT NOT NULL,
  PRIMARY KEY (run_id, name)
);
