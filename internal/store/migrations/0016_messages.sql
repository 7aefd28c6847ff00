-- Messages in the order of what they tell of, the place of each run at each
-- receiver, and digests that were made.

-- Of the same subject (a run) and channel, the one with the lower ordinal goes
-- first; '' = whenever.
ALTER TABLE messages ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE messages ADD COLUMN ordinal BIGINT NOT NULL DEFAULT 0;
CREATE INDEX messages_subject ON messages (subject, channel, ordinal);

-- What a receiver calls its message about a subject, so that the next is an
-- edit of it or an answer to it.
CREATE TABLE message_posts (
  channel   TEXT NOT NULL,
  subject   TEXT NOT NULL,
  post      TEXT NOT NULL,
  posted_at BIGINT NOT NULL, -- or edited
  PRIMARY KEY (channel, subject)
);
CREATE INDEX message_posts_age ON message_posts (posted_at);

-- One row a week and channel, so that of several servers one makes its digest.
CREATE TABLE digests (
  channel TEXT NOT NULL,
  week    TEXT NOT NULL, -- the day on which it was due
  made_at BIGINT NOT NULL,
  PRIMARY KEY (channel, week)
);
