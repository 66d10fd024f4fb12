//! Every key of a project file, once: where it stands, what it holds, its default, the variable that fills it, and whether
//! this version acts on it. The reference and the example file are checked against this table.

use super::{
    kind::Kind,
    text_kind::TextKind::{
        Branch, Folder, Glob, Label, LogUrl, Login, MatrixRoom, MatrixUser, Pattern, Plain, Project, RelativePath,
        Remote, Repository, SecretVariable, Template, Url, Variable, WebAddress,
    },
};

/// One key of a project file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Empty for keys above the first table.
    pub table: &'static str,
    /// Empty for a table whose entries have free names.
    pub name: &'static str,
    pub kind: Kind,
    /// In the form of a TOML value; none for a key that is unset when nobody sets it.
    pub default: Option<&'static str>,
    pub required: bool,
    pub acted_on: bool,
    /// Environment variables that fill the key, the first that is set.
    pub variables: &'static [&'static str],
    /// The variables describe one project, so they count only in a root with exactly one.
    pub one_project: bool,
}

impl Key {
    /// Returns the whole name, such as `agent.timeout`.
    pub fn path(&self) -> String {
        match (self.table, self.name) {
            ("", name) => name.to_owned(),
            (table, "") => table.to_owned(),
            (table, name) => format!("{table}.{name}"),
        }
    }

    /// Returns the name as it is told to people, such as `[agent] timeout`.
    pub fn label(&self) -> String {
        match (self.table, self.name) {
            ("", name) => name.to_owned(),
            (table, "") => format!("[{table}]"),
            (table, name) => format!("[{table}] {name}"),
        }
    }

    const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Accepted and checked, for the sake of files that are also read by other versions.
    const fn later(mut self) -> Self {
        self.acted_on = false;
        self
    }

    const fn variables(mut self, names: &'static [&'static str]) -> Self {
        self.variables = names;
        self
    }

    const fn of_one_project(mut self, names: &'static [&'static str]) -> Self {
        self.variables = names;
        self.one_project = true;
        self
    }
}

const fn key(table: &'static str, name: &'static str, kind: Kind) -> Key {
    Key { table, name, kind, default: None, required: false, acted_on: true, variables: &[], one_project: false }
}

/// Shortest limit of time: anything above nothing, so that tests can be quick.
const LENGTH: Kind = Kind::Duration(1);
/// Most launches, rounds or retries that a limit may allow: more than anybody wants to pay for.
const COUNT: Kind = Kind::Number(0, 100);

/// All keys, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    key("", "name", Kind::Text(Project)).of_one_project(&["PROJECT_NAME"]),
    key("", "repo", Kind::Text(Repository)).required().of_one_project(&["FORGE_REPO"]),
    key("", "forge_url", Kind::Text(Url)).required().variables(&["FORGE_URL", "FORGE_API"]),
    key("", "repo_root", Kind::Text(Folder)).of_one_project(&["PROJECT_REPO_ROOT"]),
    key("", "primary_branch", Kind::Text(Branch)).default("\"main\"").of_one_project(&["PRIMARY_BRANCH"]),
    key("", "enabled", Kind::Flag).default("true"),
    key("forge", "kind", Kind::Choice(&["forgejo", "gitea", "embedded"], &["github"])).default("\"forgejo\""),
    key("forge", "bot", Kind::Text(Login)).required(),
    key("forge", "token_env", Kind::Text(SecretVariable)).default("\"FORGE_TOKEN\""),
    key("forge", "push_token_env", Kind::Text(SecretVariable)),
    key("forge", "review_token_env", Kind::Text(SecretVariable)),
    key("forge", "chore_authors", Kind::List(Login)).default("[]"),
    key("forge", "poll_interval", Kind::Duration(10)).default("\"20s\""),
    key("ci", "provider", Kind::Choice(&["forge", "woodpecker", "local", "none"], &[])).default("\"forge\""),
    key("ci", "command", Kind::Text(Plain)),
    key("ci", "log_url", Kind::Text(LogUrl)),
    key("ci", "required_contexts", Kind::List(Plain)).default("[]"),
    key("ci", "timeout", LENGTH).default("\"1h\""),
    key("ci", "docs_only_paths", Kind::List(Glob)).default("[]"),
    key("ci", "stale_minutes", Kind::Number(1, 100_000)),
    key("ci", "woodpecker_url", Kind::Text(Url)).variables(&["WOODPECKER_SERVER"]),
    key("ci", "woodpecker_repo_id", Kind::Number(1, u32::MAX as u64)).of_one_project(&["WOODPECKER_REPO_ID"]),
    key("ci", "woodpecker_token_env", Kind::Text(SecretVariable)).default("\"WOODPECKER_TOKEN\""),
    key("agent", "kind", Kind::Choice(&["claude", "command"], &[])).default("\"claude\""),
    key("agent", "command", Kind::Text(Plain)).default("\"claude\""),
    key("agent", "args", Kind::List(Plain)).default("[]"),
    key("agent", "model", Kind::Text(Plain)),
    key("agent", "timeout", LENGTH).default("\"2h\"").variables(&["CLAUDE_TIMEOUT"]),
    key("agent", "idle_timeout", LENGTH).default("\"30m\""),
    key("agent", "ready_timeout", LENGTH).default("\"60s\""),
    key("agent", "ready_pattern", Kind::Text(Pattern)),
    key("agent", "idle_time", LENGTH).default("\"5s\""),
    key("agent", "max_agents", Kind::Number(1, 100)).default("1"),
    key("agent", "env_allow", Kind::List(Variable)).default("[]"),
    key("agent", "min_free_memory_mb", Kind::Number(0, 10_000_000)).default("2000"),
    key("agent", "setup", Kind::Text(Plain)),
    key("agent", "setup_timeout", LENGTH).default("\"10m\""),
    key("agent", "copy_files", Kind::List(RelativePath)).default("[]"),
    key("agent", "user", Kind::Text(Login)).later(),
    key("guard", "enabled", Kind::Flag).default("true"),
    key("guard", "allow_commands", Kind::List(Plain)).default("[]"),
    key("guard", "deny_commands", Kind::List(Plain)).default("[]"),
    key("guard", "allow_paths", Kind::List(Folder)).default("[]"),
    key("guard", "allow_sudo", Kind::Flag).default("false"),
    key("guard", "allow_packages", Kind::Flag).default("false"),
    key("review", "reviewers", Kind::List(Login)).default("[]"),
    key("review", "bots", Kind::List(Login)).default("[]"),
    key("review", "timeout", LENGTH).default("\"7d\""),
    key("review", "max_rounds", COUNT),
    key("review", "marker_comments", Kind::Flag).default("false"),
    key("merge", "method", Kind::Choice(&["merge", "rebase", "rebase-merge", "squash", "fast-forward-only"], &[]))
        .default("\"merge\""),
    key("merge", "required_approvals", Kind::Number(0, 20)).default("1"),
    key("merge", "require_closes", Kind::Flag).default("true"),
    key("merge", "delete_branch", Kind::Flag).default("true"),
    key("merge", "when_behind", Kind::Choice(&["as-is", "rebase", "update"], &[])).default("\"as-is\""),
    key("merge", "title", Kind::Text(Template)),
    key("merge", "message", Kind::Text(Template)),
    key("merge", "protected_paths", Kind::List(Glob)).default("[]"),
    key("merge", "require_codeowners", Kind::Flag).default("false"),
    key("labels", "backlog", Kind::Text(Label)).default("\"backlog\""),
    key("labels", "priority", Kind::Text(Label)).default("\"priority\""),
    key("labels", "in_progress", Kind::Text(Label)).default("\"in-progress\""),
    key("labels", "blocked", Kind::Text(Label)).default("\"blocked\""),
    key("labels", "underspecified", Kind::Text(Label)).default("\"underspecified\""),
    key("labels", "skip", Kind::List(Glob)).default("[]"),
    key("matrix", "homeserver", Kind::Text(Url)).variables(&["MATRIX_HOMESERVER"]),
    key("matrix", "room_id", Kind::Text(MatrixRoom)).variables(&["MATRIX_ROOM_ID"]),
    key("matrix", "bot_user", Kind::Text(MatrixUser)),
    key("matrix", "token_env", Kind::Text(SecretVariable)).default("\"MATRIX_TOKEN\""),
    key("matrix", "mention_user", Kind::Text(MatrixUser)).variables(&["MATRIX_MENTION_USER"]),
    key("matrix", "second_contact", Kind::Text(MatrixUser)),
    key("matrix", "allowed_users", Kind::List(MatrixUser)).default("[]"),
    key("matrix", "stream", Kind::Choice(&["none", "summary", "full"], &[])).default("\"none\""),
    key("notify", "webhook", Kind::Text(WebAddress)),
    key("notify", "webhook_secret_env", Kind::Text(SecretVariable)),
    key("notify", "command", Kind::Text(Plain)),
    key("notify", "timeout", Kind::Duration(1_000)).default("\"30s\""),
    key("mirrors", "", Kind::Map(Remote)),
    key("mirror_tokens", "", Kind::Map(SecretVariable)),
    key("limits", "ci_fixes", COUNT).default("3"),
    key("limits", "review_rounds", COUNT).default("6"),
    key("limits", "respawns", COUNT).default("3"),
    key("limits", "nudges", COUNT).default("2"),
    key("limits", "rebases", COUNT).default("3"),
    key("limits", "api_calls", Kind::Number(20, 100_000)).default("500"),
    key("limits", "escalate_reminder", LENGTH).default("\"30m\""),
    key("limits", "escalate_second", LENGTH).default("\"4h\""),
    key("limits", "escalate_timeout", LENGTH).default("\"24h\""),
];

/// Tables that are known although they have no keys in this version.
pub const EMPTY_TABLES: &[&str] = &[];

/// Returns the key of a whole name, such as `agent.timeout`.
pub fn find(path: &str) -> Option<&'static Key> {
    let (table, name) = path.split_once('.').unwrap_or(("", path));
    KEYS.iter().find(|key| key.table == table && key.name == name || key.name.is_empty() && key.table == path)
}

/// Returns the names of all tables, each once.
pub fn tables() -> Vec<&'static str> {
    let mut names = EMPTY_TABLES.to_vec();
    for key in KEYS {
        if !key.table.is_empty() && !names.contains(&key.table) {
            names.push(key.table);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_stands_once_and_is_found_by_its_path() {
        let paths: BTreeSet<_> = KEYS.iter().map(Key::path).collect();
        assert_eq!(paths.len(), KEYS.len());
        for key in KEYS {
            assert_eq!(find(&key.path()), Some(key), "{}", key.path());
        }
        assert_eq!(find("agent"), None);
        assert_eq!(find("nothing.here"), None);
    }

    #[test]
    fn keys_in_minutes_are_whole_numbers_and_variables_fill_only_what_text_can_fill() {
        for key in KEYS {
            assert!(!key.name.ends_with("_minutes") || matches!(key.kind, Kind::Number(..)), "{}", key.path());
            let text = !matches!(key.kind, Kind::List(_) | Kind::Flag | Kind::Map(_));
            assert!(text || key.variables.is_empty(), "{}", key.path());
        }
    }
}
