-- Join tokens, revocation with its reason, and the renewal of certificates.

CREATE TABLE join_tokens (
  id         TEXT PRIMARY KEY,
  host       TEXT NOT NULL, -- the one name it is good for; '' where pattern is set
  pattern    TEXT NOT NULL,
  hash       TEXT NOT NULL UNIQUE, -- of the secret
  uses       BIGINT NOT NULL,
  uses_left  BIGINT NOT NULL,
  refusals   BIGINT NOT NULL, -- recorded so far
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at    BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL
);
CREATE INDEX join_tokens_expiry ON join_tokens (expires_at);

-- What a token was used for, so that a host whose answer was lost gets the same
-- answer once more, for the same key.
CREATE TABLE join_uses (
  token_id    TEXT NOT NULL REFERENCES join_tokens (id) ON DELETE CASCADE,
  host        TEXT NOT NULL,
  key_hash    TEXT NOT NULL,
  serial      TEXT NOT NULL,
  certificate $blob NOT NULL,
  PRIMARY KEY (token_id, host, key_hash)
);

ALTER TABLE certificates ADD COLUMN revocation TEXT NOT NULL DEFAULT '';
-- 1: a renewal of which the host has not said yet that it uses it.
ALTER TABLE certificates ADD COLUMN pending BIGINT NOT NULL DEFAULT 0;
CREATE INDEX certificates_host ON certificates (host, not_after);
CREATE INDEX certificates_revoked ON certificates (not_after) WHERE revoked_at <> 0;

-- One row a host that has a certificate of ours. Who changes the certificates
-- of a host writes here first, so that two such changes wait for each other.
CREATE TABLE enrolments (
  host         TEXT PRIMARY KEY,
  changed_at   BIGINT NOT NULL,
  next_renewal BIGINT NOT NULL, -- nobody tries to renew before
  failures     BIGINT NOT NULL, -- of renewals, without a break
  failure      TEXT NOT NULL    -- why the last one failed
);
INSERT INTO enrolments (host, changed_at, next_renewal, failures, failure)
  SELECT host, MAX(issued_at), 0, 0, '' FROM certificates GROUP BY host;
