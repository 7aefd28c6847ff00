-- SSH keys of people, by which they come in through the SSH door.

-- The public half only. A key belongs to one person: its fingerprint is unique.
CREATE TABLE ssh_keys (
  id           $id PRIMARY KEY,
  owner        TEXT NOT NULL,
  name         TEXT NOT NULL,        -- what it is, in the owner's words
  kind         TEXT NOT NULL,        -- ssh-ed25519 and so on
  fingerprint  TEXT NOT NULL UNIQUE, -- SHA256:…, as ssh-keygen -l prints it
  public       TEXT NOT NULL,        -- base64, as in authorized_keys
  created_at   BIGINT NOT NULL,
  expires_at   BIGINT NOT NULL,      -- 0 = never
  last_used_at BIGINT NOT NULL       -- 0 = never
);
CREATE INDEX ssh_keys_owner ON ssh_keys (owner);
