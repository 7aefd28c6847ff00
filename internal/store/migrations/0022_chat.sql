-- Chats: whose account there is whose here, the one-time codes by which that is
-- said, the buttons below messages, the messages that follow a run, and which
-- server listens.

-- person is the chat's own id of an account, which never goes to somebody else;
-- its name there may.
CREATE TABLE chat_links (
  id         $id PRIMARY KEY,
  chat       TEXT NOT NULL,   -- telegram | slack | mattermost
  person     TEXT NOT NULL,
  name       TEXT NOT NULL,   -- as the chat called the person then
  owner      TEXT NOT NULL,   -- who that is here
  roles      TEXT NOT NULL,   -- JSON list: what it may at most
  created_at BIGINT NOT NULL,
  UNIQUE (chat, person)
);
CREATE INDEX chat_links_owner ON chat_links (owner);

-- Of a code only the SHA-256 is kept; so it is with buttons.
CREATE TABLE chat_codes (
  hash       TEXT PRIMARY KEY,
  owner      TEXT NOT NULL,
  roles      TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);

CREATE TABLE chat_buttons (
  hash       TEXT PRIMARY KEY,
  chat       TEXT NOT NULL,
  place      TEXT NOT NULL,   -- the conversation
  message    TEXT NOT NULL,   -- '' until it has been sent
  person     TEXT NOT NULL,   -- who alone may press it; '' = whoever may do it
  act        TEXT NOT NULL,
  run_id     $id NOT NULL,
  seen       BIGINT NOT NULL, -- version of the run that the message shows
  note       TEXT NOT NULL,   -- the person's own words
  once       BIGINT NOT NULL, -- 1: good for one press
  expires_at BIGINT NOT NULL,
  used_at    BIGINT NOT NULL  -- 0 = not yet
);
CREATE INDEX chat_buttons_message ON chat_buttons (chat, place, message);
CREATE INDEX chat_buttons_expiry ON chat_buttons (expires_at);

-- Messages that show how a run stands, until it is over.
CREATE TABLE chat_messages (
  chat       TEXT NOT NULL,
  place      TEXT NOT NULL,
  message    TEXT NOT NULL,
  private    BIGINT NOT NULL, -- 1: nobody else reads there
  run_id     $id NOT NULL,
  person     TEXT NOT NULL,   -- who asked for it
  created_at BIGINT NOT NULL,
  PRIMARY KEY (chat, place, message)
);

-- What has been taken from a chat, so that nothing is answered twice.
CREATE TABLE chat_updates (
  chat    TEXT NOT NULL,
  id      TEXT NOT NULL,
  seen_at BIGINT NOT NULL,
  PRIMARY KEY (chat, id)
);
CREATE INDEX chat_updates_age ON chat_updates (seen_at);

-- Of several servers one listens to a chat, and keeps its messages up to date.
CREATE TABLE chat_turns (
  chat     TEXT PRIMARY KEY,
  owner    TEXT NOT NULL,
  until_at BIGINT NOT NULL
);
