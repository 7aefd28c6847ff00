-- Thread dumps: what a run took, the evidence of its hosts, and files that
-- somebody has put into the viewer. What they are stands apart from their bytes.

CREATE TABLE dumps (
  id          $id PRIMARY KEY,
  run_id      $id REFERENCES runs (id) ON DELETE CASCADE, -- NULL: of an upload
  task_id     $id NOT NULL,    -- '' where no task took it
  host        TEXT NOT NULL,   -- '' of an upload, as are the three below
  service     TEXT NOT NULL,
  environment TEXT NOT NULL,
  host_group  TEXT NOT NULL,
  origin      TEXT NOT NULL,   -- run | evidence | before | after | upload
  place       BIGINT NOT NULL, -- in the task, from 1; 0 where no task took it
  number      BIGINT NOT NULL, -- in its series, from 1
  series      BIGINT NOT NULL, -- how many that was to have
  runtime     TEXT NOT NULL,
  method      TEXT NOT NULL,
  pid         BIGINT NOT NULL,
  taken_at    BIGINT NOT NULL,
  took_us     BIGINT NOT NULL,
  size        BIGINT NOT NULL, -- bytes of its text
  stored      BIGINT NOT NULL, -- bytes here, zstd; 0 = there are none: see error
  notes       TEXT NOT NULL,   -- JSON: a list
  verdict     TEXT NOT NULL,   -- JSON of analyse.Finding; '' = not judged
  summary     TEXT NOT NULL,   -- JSON
  evidence    $blob,           -- packed JSON: what was kept beside it, such as the journal
  name        TEXT NOT NULL,   -- of the file that was put in
  owner       TEXT NOT NULL,   -- who put it in
  error       TEXT NOT NULL,
  created_at  BIGINT NOT NULL
);
-- A task's dump is stored once, and so is what a host said before a run.
CREATE UNIQUE INDEX dumps_task ON dumps (task_id, place) WHERE task_id <> '';
CREATE UNIQUE INDEX dumps_before ON dumps (run_id, host) WHERE origin = 'before';
CREATE INDEX dumps_run ON dumps (run_id, id);
CREATE INDEX dumps_service ON dumps (service, id);
CREATE INDEX dumps_host ON dumps (host, id);
CREATE INDEX dumps_owner ON dumps (owner, id) WHERE owner <> '';
-- Has all that is needed to find out what is to go.
CREATE INDEX dumps_created ON dumps (created_at, id, stored);

CREATE TABLE dump_chunks (
  dump_id $id NOT NULL REFERENCES dumps (id) ON DELETE CASCADE,
  n       BIGINT NOT NULL, -- from 0
  data    $blob NOT NULL,
  PRIMARY KEY (dump_id, n)
);
