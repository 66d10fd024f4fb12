//! Which keys of a project must fit each other, and what is said where they do not.

use super::{
    super::{
        environment::Environment,
        resolve::{Origin, Settings},
        value::Value,
    },
    read::{list, number, text},
};
use std::collections::BTreeMap;

/// A key that does not fit another: its path, what is wrong, and a remedy, which may be empty.
type Misfit = (&'static str, String, &'static str);

/// Checks keys that must fit each other.
pub(super) fn check_together(settings: &mut Settings) {
    let found = [
        misfits_of_places(settings),
        misfits_of_agent(settings),
        misfits_of_notices(settings),
        tokens_for_the_agent(settings),
        misfits_of_review(settings),
        times_that_shrink(settings),
        labels_that_collide(settings),
    ];
    for (path, message, hint) in found.into_iter().flatten() {
        settings.problem(path, message, hint);
    }
}

fn is_set(settings: &Settings, path: &str) -> bool {
    settings.value(path).is_some()
}

fn is_in_file(settings: &Settings, path: &str) -> bool {
    matches!(settings.get(path).map(|setting| &setting.origin), Some(Origin::File { .. }))
}

/// The forge and the CI.
fn misfits_of_places(settings: &Settings) -> Vec<Misfit> {
    let mut found: Vec<Misfit> = Vec::new();
    if text(settings, "forge_url").is_some_and(|url| url.ends_with("/api/v1")) {
        found.push(("forge_url", "`forge_url` names the API, not the forge".to_owned(), "leave /api/v1 away"));
    }
    let needed = match text(settings, "ci.provider").as_deref() {
        Some("local") => Some(("local", "ci.command", "such as command = \"make test\"")),
        Some("woodpecker") => {
            Some(("woodpecker", "ci.woodpecker_url", "such as woodpecker_url = \"https://ci.example.org\""))
        }
        _ => None,
    };
    if let Some((provider, needs, hint)) = needed.filter(|(_, needs, _)| !is_set(settings, needs)) {
        found.push(("ci.provider", format!("`ci.provider` = \"{provider}\" needs `{needs}`"), hint));
    }
    found
}

fn misfits_of_agent(settings: &Settings) -> Vec<Misfit> {
    let in_file = |path: &str| is_in_file(settings, path);
    let mut found: Vec<Misfit> = Vec::new();
    if text(settings, "agent.kind").as_deref() == Some("command") {
        let is_told = settings.problems.iter().any(|problem| problem.message.starts_with("`agent.ready_pattern`"));
        if !in_file("agent.ready_pattern") && !is_told {
            let message = "`agent.kind` = \"command\" needs `agent.ready_pattern`, which shows its empty input line";
            found.push(("agent.kind", message.to_owned(), "such as ready_pattern = \"^you> \""));
        }
        if !in_file("agent.command") {
            let message = "`agent.kind` = \"command\" needs `agent.command`, the program".to_owned();
            found.push(("agent.kind", message, "such as command = \"/usr/local/bin/agent\""));
        }
        if in_file("agent.model") {
            let message = "`agent.model` is for `agent.kind` = \"claude\"".to_owned();
            found.push(("agent.model", message, "name the model in `args`, as the program wants it"));
        }
    } else if let Some(path) = ["agent.ready_pattern", "agent.idle_time"].into_iter().find(|path| in_file(path)) {
        let message = format!("`{path}` is for `agent.kind` = \"command\"; claude's own hooks tell");
        found.push((path, message, "leave it out"));
    }
    let copies = list(settings, "agent.copy_files").is_some_and(|files| !files.is_empty());
    if copies && !is_set(settings, "repo_root") {
        let message = "`agent.copy_files` needs `repo_root`, the checkout that the files are copied from".to_owned();
        found.push(("agent.copy_files", message, "set repo_root"));
    }
    found
}

fn misfits_of_notices(settings: &Settings) -> Vec<Misfit> {
    let mut found: Vec<Misfit> = Vec::new();
    for (one, other) in [("matrix.homeserver", "matrix.room_id"), ("matrix.room_id", "matrix.homeserver")] {
        if is_in_file(settings, one) && !is_set(settings, other) {
            found.push((one, format!("`{one}` needs `{other}`"), "both name the room that people are told in"));
        }
    }
    if is_set(settings, "notify.webhook_secret_env") && !is_set(settings, "notify.webhook") {
        found.push(("notify.webhook_secret_env", "`notify.webhook_secret_env` needs `notify.webhook`".to_owned(), ""));
    }
    found
}

/// Rig's own tokens are never handed to the agent.
fn tokens_for_the_agent(settings: &Settings) -> Vec<Misfit> {
    let secrets = [
        "forge.token_env",
        "forge.review_token_env",
        "forge.push_token_env",
        "ci.woodpecker_token_env",
        "matrix.token_env",
        "notify.webhook_secret_env",
    ];
    let names: Vec<String> = secrets.iter().filter_map(|path| text(settings, path)).collect();
    let allowed = list(settings, "agent.env_allow").unwrap_or_default();
    let told = |name: &String| {
        let message = format!("`agent.env_allow` hands {name} to the agent, which must not have rig's tokens");
        ("agent.env_allow", message, "git push works without it, through rig's credential helper")
    };
    allowed.iter().filter(|name| names.contains(name)).map(told).collect()
}

fn misfits_of_review(settings: &Settings) -> Vec<Misfit> {
    let mut found: Vec<Misfit> = Vec::new();
    let bot = text(settings, "forge.bot").unwrap_or_default();
    let reviewers = list(settings, "review.reviewers").unwrap_or_default();
    let others = reviewers.iter().filter(|reviewer| !reviewer.eq_ignore_ascii_case(&bot)).count() as u64;
    if let Some(required) = number(settings, "merge.required_approvals").filter(|required| others < *required)
        && !reviewers.is_empty()
    {
        let message =
            format!("`merge.required_approvals` is {required} and only {others} of `review.reviewers` can approve");
        found.push(("review.reviewers", message, "the author of a pull request, which is the bot, never counts"));
    }
    let rounds = ["review.max_rounds", "limits.review_rounds"].map(|path| settings.get(path));
    if let [Some(old), Some(new)] = rounds
        && old.value.is_some()
        && old.value != new.value
    {
        let message = "`review.max_rounds` and `limits.review_rounds` mean the same and differ".to_owned();
        found.push(("review.max_rounds", message, "keep limits.review_rounds"));
    }
    found
}

fn times_that_shrink(settings: &Settings) -> Vec<Misfit> {
    let times = ["limits.escalate_reminder", "limits.escalate_second", "limits.escalate_timeout"];
    let [Some(Value::Duration(first)), Some(Value::Duration(second)), Some(Value::Duration(last))] =
        times.map(|path| settings.value(path))
    else {
        return Vec::new();
    };
    let message = "escalation times must grow: escalate_reminder, escalate_second, escalate_timeout".to_owned();
    let grows = first <= second && second <= last;
    if grows { Vec::new() } else { vec![("limits.escalate_reminder", message, "")] }
}

/// State labels exclude each other, so each needs a name of its own; forges compare names without regard to case.
fn labels_that_collide(settings: &Settings) -> Vec<Misfit> {
    let paths = ["labels.backlog", "labels.priority", "labels.in_progress", "labels.blocked", "labels.underspecified"];
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for path in paths {
        if let Some(name) = text(settings, path)
            && let Some(other) = seen.insert(name.to_lowercase(), path)
        {
            found.push((path, format!("`{path}` and `{other}` have one name, `{name}`"), "give each its own label"));
        }
    }
    found
}

/// A checkout that is named must be there, or worktrees would silently do without it.
pub(super) fn check_repo_root(settings: &mut Settings, environment: &Environment) {
    let Some(given) = text(settings, "repo_root") else { return };
    let path = environment.expand(&given);
    // `.git` is a folder in a clone and a file in a worktree; a bare repository has HEAD and objects itself.
    let is_git = path.join(".git").exists() || path.join("HEAD").is_file() && path.join("objects").is_dir();
    let wrong = match (path.is_dir(), is_git) {
        (false, _) => "is no folder",
        (true, false) => "is no git checkout",
        (true, true) => return,
    };
    let message = format!("`repo_root` {} {wrong}", path.display());
    settings.problem("repo_root", message, "leave it out, or clone there");
}
