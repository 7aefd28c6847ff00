-- What root has done on hosts themselves, without a server: which of a host's
-- tasks have been taken over, and how far its own chain of records was seen.

CREATE TABLE local_tasks (
  host        TEXT NOT NULL,
  task_id     $id NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  imported_at BIGINT NOT NULL,
  PRIMARY KEY (host, task_id)
);
CREATE INDEX local_tasks_recent ON local_tasks (host, imported_at);

CREATE TABLE local_chains (
  host TEXT PRIMARY KEY,
  seq  BIGINT NOT NULL,
  hash TEXT NOT NULL
);
