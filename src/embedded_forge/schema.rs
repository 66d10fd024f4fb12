//! The tables of the embedded forge. The number of applied steps is kept in SQLite's `user_version`; steps are only added.
//! What git knows is not here: branches and their tips are read from the bare repositories.

/// The steps from an empty database to the current one, oldest first.
pub(super) const STEPS: &[&str] = &[FIRST, RESOLVER];

/// Who has marked the thread of a review's comment as resolved.
const RESOLVER: &str = "ALTER TABLE review_comments ADD COLUMN resolver INTEGER REFERENCES accounts(id);";

const FIRST: &str = "
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE, full_name TEXT NOT NULL DEFAULT '',
    email TEXT NOT NULL DEFAULT '', salt TEXT NOT NULL DEFAULT '', password TEXT NOT NULL DEFAULT '',
    is_admin INTEGER NOT NULL DEFAULT 0, is_organization INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL);
CREATE TABLE organization_owners (
    organization INTEGER NOT NULL REFERENCES accounts(id), account INTEGER NOT NULL REFERENCES accounts(id),
    PRIMARY KEY (organization, account));
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL REFERENCES accounts(id), name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE, last_eight TEXT NOT NULL, scopes TEXT NOT NULL, created INTEGER NOT NULL,
    UNIQUE (account, name));
CREATE TABLE repositories (
    id INTEGER PRIMARY KEY AUTOINCREMENT, owner INTEGER NOT NULL REFERENCES accounts(id),
    name TEXT NOT NULL COLLATE NOCASE, description TEXT NOT NULL DEFAULT '', default_branch TEXT NOT NULL,
    private INTEGER NOT NULL DEFAULT 0, archived INTEGER NOT NULL DEFAULT 0, settings TEXT NOT NULL DEFAULT '{}',
    last_number INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, updated INTEGER NOT NULL, UNIQUE (owner, name));
CREATE TABLE collaborators (
    repository INTEGER NOT NULL REFERENCES repositories(id) ON DELETE CASCADE,
    account INTEGER NOT NULL REFERENCES accounts(id), permission TEXT NOT NULL, PRIMARY KEY (repository, account));
CREATE TABLE labels (
    id INTEGER PRIMARY KEY AUTOINCREMENT, repository INTEGER NOT NULL REFERENCES repositories(id) ON DELETE CASCADE,
    name TEXT NOT NULL, color TEXT NOT NULL, description TEXT NOT NULL DEFAULT '',
    exclusive INTEGER NOT NULL DEFAULT 0, is_archived INTEGER NOT NULL DEFAULT 0);
CREATE INDEX labels_of_repository ON labels (repository, name);
CREATE TABLE issues (
    id INTEGER PRIMARY KEY AUTOINCREMENT, repository INTEGER NOT NULL REFERENCES repositories(id) ON DELETE CASCADE,
    number INTEGER NOT NULL, is_pull INTEGER NOT NULL, author INTEGER NOT NULL REFERENCES accounts(id),
    title TEXT NOT NULL, body TEXT NOT NULL, closed INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL,
    updated INTEGER NOT NULL, closed_at INTEGER, UNIQUE (repository, number));
CREATE TABLE issue_labels (
    issue INTEGER NOT NULL REFERENCES issues(id) ON DELETE CASCADE,
    label INTEGER NOT NULL REFERENCES labels(id) ON DELETE CASCADE, PRIMARY KEY (issue, label));
CREATE TABLE assignees (
    issue INTEGER NOT NULL REFERENCES issues(id) ON DELETE CASCADE,
    account INTEGER NOT NULL REFERENCES accounts(id), PRIMARY KEY (issue, account));
CREATE TABLE comments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, issue INTEGER NOT NULL REFERENCES issues(id) ON DELETE CASCADE,
    author INTEGER NOT NULL REFERENCES accounts(id), body TEXT NOT NULL, created INTEGER NOT NULL,
    updated INTEGER NOT NULL);
CREATE INDEX comments_of_issue ON comments (issue);
CREATE TABLE dependencies (
    issue INTEGER NOT NULL REFERENCES issues(id) ON DELETE CASCADE,
    waits_for INTEGER NOT NULL REFERENCES issues(id) ON DELETE CASCADE, PRIMARY KEY (issue, waits_for));
CREATE TABLE pulls (
    issue INTEGER PRIMARY KEY REFERENCES issues(id) ON DELETE CASCADE, head_branch TEXT NOT NULL,
    base_branch TEXT NOT NULL, head_sha TEXT NOT NULL, merge_base TEXT NOT NULL,
    merged_sha TEXT, merged_at INTEGER, merged_by INTEGER REFERENCES accounts(id),
    intent_sha TEXT, intent_by INTEGER REFERENCES accounts(id), delete_branch INTEGER NOT NULL DEFAULT 0);
CREATE TABLE reviews (
    id INTEGER PRIMARY KEY AUTOINCREMENT, issue INTEGER NOT NULL REFERENCES issues(id) ON DELETE CASCADE,
    author INTEGER NOT NULL REFERENCES accounts(id), state TEXT NOT NULL, body TEXT NOT NULL, commit_id TEXT NOT NULL,
    official INTEGER NOT NULL, dismissed INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, updated INTEGER NOT NULL);
CREATE INDEX reviews_of_issue ON reviews (issue);
CREATE TABLE review_comments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, review INTEGER NOT NULL REFERENCES reviews(id) ON DELETE CASCADE,
    path TEXT NOT NULL, body TEXT NOT NULL, new_position INTEGER NOT NULL, old_position INTEGER NOT NULL,
    created INTEGER NOT NULL);
CREATE INDEX review_comments_of_review ON review_comments (review);
CREATE TABLE statuses (
    id INTEGER PRIMARY KEY AUTOINCREMENT, repository INTEGER NOT NULL REFERENCES repositories(id) ON DELETE CASCADE,
    sha TEXT NOT NULL, context TEXT NOT NULL, state TEXT NOT NULL, target_url TEXT NOT NULL, description TEXT NOT NULL,
    creator INTEGER NOT NULL REFERENCES accounts(id), created INTEGER NOT NULL);
CREATE INDEX statuses_of_commit ON statuses (repository, sha);
CREATE TABLE protections (
    id INTEGER PRIMARY KEY AUTOINCREMENT, repository INTEGER NOT NULL REFERENCES repositories(id) ON DELETE CASCADE,
    rule_name TEXT NOT NULL, body TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
    UNIQUE (repository, rule_name));
";
