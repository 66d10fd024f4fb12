-- What goes to people by a channel of the project: Matrix, a webhook, a command. Rows of one lane are sent one after the other, in
-- the order of their positions. The id makes a repeat harmless on the other side; a row stays for some weeks after it was sent,
-- so that a repeat is dropped here too.
CREATE TABLE outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    channel  TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    project  TEXT    NOT NULL,
    issue    INTEGER,
    run      TEXT,
    lane     TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    at       TEXT    NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at  TEXT,
    sent_at  TEXT,
    -- Where it can be found on the other side; empty when it was left out, with the reason in `error`.
    event    TEXT    NOT NULL DEFAULT '',
    error    TEXT    NOT NULL DEFAULT '',
    UNIQUE (channel, id)
) STRICT;
CREATE INDEX outbox_waiting ON outbox (channel, lane, position) WHERE sent_at IS NULL;
CREATE INDEX outbox_by_event ON outbox (event) WHERE event <> '';
CREATE INDEX outbox_by_age ON outbox (sent_at) WHERE sent_at IS NOT NULL;

-- The thread of a run in a chat room. One that was deleted, or whose room is not the project's any more, gets a successor; replies
-- to any of them are the run's.
CREATE TABLE threads (
    run        TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    room       TEXT    NOT NULL,
    root       TEXT    NOT NULL,
    gone       INTEGER NOT NULL DEFAULT 0 CHECK (gone IN (0, 1)),
    at         TEXT    NOT NULL,
    UNIQUE (run, generation)
) STRICT;
CREATE INDEX threads_of_a_root ON threads (room, root);

-- Up to where an account has read, written in one transaction with what was read.
CREATE TABLE chat_positions (
    account TEXT NOT NULL UNIQUE,
    next    TEXT NOT NULL,
    at      TEXT NOT NULL
) STRICT;

-- Messages that could not be decrypted when they came: their key may come later.
CREATE TABLE chat_unread (
    account TEXT NOT NULL,
    room    TEXT NOT NULL,
    event   TEXT NOT NULL,
    at      TEXT NOT NULL,
    UNIQUE (account, event)
) STRICT;
