-- The store of one root. Times are RFC 3339 in UTC with nine digits below the second, so that text order is time order.
-- Truth values are 0 and 1. This file is never edited once released: a change is a new file with the next number.

-- The journal. A stream is a run; seq counts from 1 without gaps; position orders the whole journal and may have gaps.
CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    stream   TEXT    NOT NULL,
    seq      INTEGER NOT NULL CHECK (seq > 0),
    at       TEXT    NOT NULL,
    host     TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    version  INTEGER NOT NULL CHECK (version > 0),
    body     TEXT    NOT NULL,
    UNIQUE (stream, seq)
) STRICT;

-- What tools show of a run: a projection of its stream, written in the same transaction.
CREATE TABLE runs (
    run          TEXT    NOT NULL UNIQUE,
    project      TEXT    NOT NULL,
    issue        INTEGER NOT NULL,
    title        TEXT    NOT NULL,
    seq          INTEGER NOT NULL,
    stage        TEXT    NOT NULL,
    waits_for    TEXT    NOT NULL,
    attempt      INTEGER NOT NULL,
    pull_request INTEGER,
    head         TEXT,
    claimed_at   TEXT    NOT NULL,
    changed_at   TEXT    NOT NULL,
    open         INTEGER NOT NULL CHECK (open IN (0, 1)),
    holds_slot   INTEGER NOT NULL CHECK (holds_slot IN (0, 1))
) STRICT;
CREATE UNIQUE INDEX one_open_run_for_an_issue ON runs (project, issue) WHERE open = 1;
CREATE INDEX runs_of_an_issue ON runs (project, issue, run);
CREATE INDEX runs_by_age ON runs (claimed_at, run);

-- Orders and replies for a driver. A taken input stays, so that its key is never stored again.
CREATE TABLE inputs (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    run   TEXT    NOT NULL,
    key   TEXT    NOT NULL,
    kind  TEXT    NOT NULL,
    body  TEXT    NOT NULL,
    at    TEXT    NOT NULL,
    taken INTEGER NOT NULL DEFAULT 0 CHECK (taken IN (0, 1)),
    UNIQUE (run, key)
) STRICT;
CREATE INDEX inputs_waiting ON inputs (run, id) WHERE taken = 0;

-- What people are to be told. A sent notice stays, so that a repeat of its effect is dropped.
CREATE TABLE notices (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT    NOT NULL UNIQUE,
    project  TEXT    NOT NULL,
    issue    INTEGER NOT NULL,
    text     TEXT    NOT NULL,
    urgent   INTEGER NOT NULL CHECK (urgent IN (0, 1)),
    on_issue INTEGER NOT NULL CHECK (on_issue IN (0, 1)),
    at       TEXT    NOT NULL,
    sent_at  TEXT
) STRICT;
CREATE INDEX notices_unsent ON notices (position) WHERE sent_at IS NULL;

-- Why a candidate was taken or left: changes only.
CREATE TABLE decisions (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    project      TEXT    NOT NULL,
    subject_kind TEXT    NOT NULL,
    subject      INTEGER NOT NULL,
    code         TEXT    NOT NULL,
    words        TEXT    NOT NULL,
    at           TEXT    NOT NULL
) STRICT;
CREATE INDEX decisions_of_a_subject ON decisions (project, subject_kind, subject, id);
CREATE INDEX decisions_by_age ON decisions (at);

-- How far each mirror is.
CREATE TABLE mirrors (
    project TEXT    NOT NULL,
    mirror  TEXT    NOT NULL,
    sha     TEXT,
    error   TEXT    NOT NULL,
    told    INTEGER NOT NULL CHECK (told IN (0, 1)),
    at      TEXT    NOT NULL,
    UNIQUE (project, mirror)
) STRICT;

-- The process that leads each run, and its last sign of life.
CREATE TABLE drivers (
    run           TEXT    NOT NULL UNIQUE,
    pid           INTEGER NOT NULL,
    process_start INTEGER NOT NULL,
    boot_id       TEXT    NOT NULL,
    beat_at       TEXT    NOT NULL
) STRICT;
