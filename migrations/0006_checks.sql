-- What local CI has found of a commit that no run leads. The verdict is that of one command at one commit, so another command, or a
-- push, begins anew; `breaks` counts how often the machinery broke in a row.

CREATE TABLE checks (
    repository   TEXT    NOT NULL,
    head         TEXT    NOT NULL,
    command      TEXT    NOT NULL,
    project      TEXT    NOT NULL,
    pull_request INTEGER NOT NULL,
    verdict      TEXT    NOT NULL,
    breaks       INTEGER NOT NULL,
    at           TEXT    NOT NULL,
    UNIQUE (repository, head, command)
) STRICT;
CREATE INDEX checks_of_a_project ON checks (project, at);
