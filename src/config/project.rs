//! Makes the typed project of its settings: what keys mean together, which secrets there are, and what this version leaves
//! aside. Everything that is wrong is told at once.

use super::{
    environment::Environment,
    problem::Problem,
    resolve::{Origin, Settings},
    schema::KEYS,
    settings::{Agent, Ci, CiProvider, Forge, ForgeKind, Labels, Limits, Merge, MergeMethod, Project, Review},
    value::Value,
};
use crate::domain::ids::Login;
use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeMap, path::PathBuf, str::FromStr, time::Duration};

/// Makes the project, or returns everything that is wrong with its file.
pub(super) fn build(mut settings: Settings, environment: &Environment) -> Result<Project, Vec<Problem>> {
    check_together(&mut settings);
    check_repo_root(&mut settings, environment);
    let secrets = Secrets::find(&mut settings, environment);
    let project = secrets.and_then(|secrets| assemble(&settings, secrets, environment));
    if project.is_none() && settings.problems.is_empty() {
        // Not reachable while the schema and `assemble` agree; told instead of hidden should they part.
        settings.problems.push(Problem::new(&settings.file, None, "does not come to a complete project"));
    }
    match project {
        Some(project) if settings.problems.is_empty() => Ok(project),
        _ => Err(settings.problems),
    }
}

/// Returns the keys of the file that this version accepts and does not act on, in the order of the schema.
pub(super) fn unused_keys(settings: &Settings) -> Vec<String> {
    let left_aside = KEYS.iter().filter(|key| !key.acted_on).filter(|key| {
        let setting = settings.get(&key.path());
        // A key that says what rig does anyway is as good as acted on.
        let default = key.default.and_then(|text| super::resolve::parse_default(key, text));
        setting.is_some_and(|setting| matches!(setting.origin, Origin::File { .. }) && setting.value != default)
    });
    left_aside.map(super::schema::Key::label).collect()
}

/// Checks keys that must fit each other.
fn check_together(settings: &mut Settings) {
    let text = |path: &str| match settings.value(path) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let list = |path: &str| list(settings, path).unwrap_or_default();
    let mut found: Vec<(&str, String, &str)> = Vec::new();
    if text("forge_url").ends_with("/api/v1") {
        let message = "`forge_url` names the API, not the forge".to_owned();
        found.push(("forge_url", message, "leave /api/v1 away"));
    }
    if text("ci.provider") == "local" && settings.value("ci.command").is_none() {
        found.push((
            "ci.provider",
            "`ci.provider` = \"local\" needs `ci.command`".to_owned(),
            "such as command = \"make test\"",
        ));
    }
    if !list("agent.copy_files").is_empty() && settings.value("repo_root").is_none() {
        let message = "`agent.copy_files` needs `repo_root`, the checkout that the files are copied from".to_owned();
        found.push(("agent.copy_files", message, "set repo_root"));
    }
    let secret_names = ["forge.token_env", "forge.review_token_env", "forge.push_token_env", "matrix.token_env"];
    for name in list("agent.env_allow") {
        if secret_names.iter().any(|path| text(path) == name) {
            let message = format!("`agent.env_allow` hands {name} to the agent, which must not have rig's tokens");
            found.push(("agent.env_allow", message, "git push works without it, through rig's credential helper"));
        }
    }
    let bot = text("forge.bot");
    let reviewers = list("review.reviewers");
    let others = reviewers.iter().filter(|reviewer| !reviewer.eq_ignore_ascii_case(&bot)).count() as u64;
    if let Some(Value::Number(required)) = settings.value("merge.required_approvals")
        && !reviewers.is_empty()
        && others < *required
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
    let times = ["limits.escalate_reminder", "limits.escalate_second", "limits.escalate_timeout"];
    if let [Some(Value::Duration(first)), Some(Value::Duration(second)), Some(Value::Duration(last))] =
        times.map(|path| settings.value(path))
        && (first > second || second > last)
    {
        let message = "escalation times must grow: escalate_reminder, escalate_second, escalate_timeout".to_owned();
        found.push(("limits.escalate_reminder", message, ""));
    }
    found.extend(labels_that_collide(settings));
    for (path, message, hint) in found {
        settings.problem(path, message, hint);
    }
}

/// State labels exclude each other, so each needs a name of its own; forges compare names without regard to case.
fn labels_that_collide(settings: &Settings) -> Vec<(&'static str, String, &'static str)> {
    let paths = ["labels.backlog", "labels.priority", "labels.in_progress", "labels.blocked", "labels.underspecified"];
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for path in paths {
        if let Some(Value::Text(name)) = settings.value(path)
            && let Some(other) = seen.insert(name.to_lowercase(), path)
        {
            found.push((path, format!("`{path}` and `{other}` have one name, `{name}`"), "give each its own label"));
        }
    }
    found
}

/// A checkout that is named must be there, or worktrees would silently do without it.
fn check_repo_root(settings: &mut Settings, environment: &Environment) {
    let Some(Value::Text(given)) = settings.value("repo_root") else { return };
    let path = environment.expand(given);
    // `.git` is a folder in a clone and a file in a worktree; a bare repository has HEAD and objects itself.
    let is_git = path.join(".git").exists() || path.join("HEAD").is_file() && path.join("objects").is_dir();
    if !path.is_dir() {
        settings.problem(
            "repo_root",
            format!("`repo_root` {} is no folder", path.display()),
            "leave it out, or clone there",
        );
    } else if !is_git {
        settings.problem(
            "repo_root",
            format!("`repo_root` {} is no git checkout", path.display()),
            "leave it out, or clone there",
        );
    }
}

/// The secrets of a project, by the variables that its keys name.
struct Secrets {
    token: SecretString,
    push: SecretString,
    review: Option<SecretString>,
}

impl Secrets {
    fn find(settings: &mut Settings, environment: &Environment) -> Option<Self> {
        let token = secret(settings, environment, "forge.token_env");
        let push =
            named(settings, "forge.push_token_env").then(|| secret(settings, environment, "forge.push_token_env"));
        let review =
            named(settings, "forge.review_token_env").then(|| secret(settings, environment, "forge.review_token_env"));
        let review = match review {
            Some(None) => return None,
            Some(found) => found,
            None => None,
        };
        let token = token?;
        if review.as_ref().is_some_and(|review| review.expose_secret() == token.expose_secret()) {
            settings.problem(
                "forge.review_token_env",
                "the variables of `forge.token_env` and `forge.review_token_env` hold the same token",
                "the reviewer must be another account than the bot",
            );
        }
        let push = match push {
            Some(found) => found?,
            None => token.clone(),
        };
        Some(Self { token, push, review })
    }
}

fn named(settings: &Settings, path: &str) -> bool {
    settings.value(path).is_some()
}

fn secret(settings: &mut Settings, environment: &Environment, path: &str) -> Option<SecretString> {
    let Some(Value::Text(variable)) = settings.value(path).cloned() else { return None };
    if let Some((value, _)) = environment.get(&variable) {
        let value = value.trim();
        if !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Some(SecretString::from(value.to_owned()));
        }
        settings.problem(path, format!("the variable {variable} of `{path}` holds white space"), "a token has none");
        return None;
    }
    let project = match settings.value("name") {
        Some(Value::Text(name)) => name.clone(),
        _ => "the project".to_owned(),
    };
    let message = format!("{project} has no token: the variable {variable} of `{path}` is not set");
    let hint = format!("set {variable}, or write {variable}=... into state/env (chmod 600)");
    settings.problem(path, message, hint);
    None
}

fn assemble(settings: &Settings, secrets: Secrets, environment: &Environment) -> Option<Project> {
    let s = settings;
    Some(Project {
        name: parsed(s, "name")?,
        repository: parsed(s, "repo")?,
        forge_url: text(s, "forge_url")?,
        repo_root: text(s, "repo_root").map(|path| environment.expand(&path)),
        primary_branch: text(s, "primary_branch")?,
        enabled: flag(s, "enabled")?,
        forge: forge(s, secrets)?,
        ci: ci(s)?,
        agent: agent(s, environment)?,
        review: Review {
            reviewers: logins(s, "review.reviewers")?,
            timeout: duration(s, "review.timeout")?,
            marker_comments: flag(s, "review.marker_comments")?,
        },
        merge: merge(s)?,
        labels: Labels {
            backlog: text(s, "labels.backlog")?,
            priority: text(s, "labels.priority")?,
            in_progress: text(s, "labels.in_progress")?,
            blocked: text(s, "labels.blocked")?,
            underspecified: text(s, "labels.underspecified")?,
            skip: list(s, "labels.skip")?,
        },
        mirrors: mirrors(s, environment),
        limits: limits(s)?,
        unused_keys: unused_keys(s),
    })
}

fn forge(s: &Settings, secrets: Secrets) -> Option<Forge> {
    Some(Forge {
        kind: match text(s, "forge.kind")?.as_str() {
            "forgejo" => ForgeKind::Forgejo,
            "gitea" => ForgeKind::Gitea,
            "embedded" => ForgeKind::Embedded,
            _ => return None,
        },
        bot: parsed(s, "forge.bot")?,
        token: secrets.token,
        push_token: secrets.push,
        review_token: secrets.review,
        chore_authors: logins(s, "forge.chore_authors")?,
        poll_interval: duration(s, "forge.poll_interval")?,
    })
}

fn ci(s: &Settings) -> Option<Ci> {
    Some(Ci {
        provider: match text(s, "ci.provider")?.as_str() {
            "forge" => CiProvider::Forge,
            "local" => CiProvider::Local,
            "none" => CiProvider::None,
            _ => return None,
        },
        command: text(s, "ci.command").unwrap_or_default(),
        required_contexts: list(s, "ci.required_contexts")?,
        timeout: duration(s, "ci.timeout")?,
    })
}

fn agent(s: &Settings, environment: &Environment) -> Option<Agent> {
    let env_allow = list(s, "agent.env_allow")?;
    let value = |name: &String| Some((name.clone(), SecretString::from(environment.get(name)?.0)));
    Some(Agent {
        command: text(s, "agent.command")?,
        args: list(s, "agent.args")?,
        model: text(s, "agent.model"),
        timeout: duration(s, "agent.timeout")?,
        idle_timeout: duration(s, "agent.idle_timeout")?,
        max_agents: count(s, "agent.max_agents")?,
        env: env_allow.iter().filter_map(value).collect(),
        env_allow,
        min_free_memory_mb: number(s, "agent.min_free_memory_mb")?,
        copy_files: list(s, "agent.copy_files")?,
    })
}

fn merge(s: &Settings) -> Option<Merge> {
    Some(Merge {
        method: match text(s, "merge.method")?.as_str() {
            "merge" => MergeMethod::Merge,
            "rebase" => MergeMethod::Rebase,
            "rebase-merge" => MergeMethod::RebaseMerge,
            "squash" => MergeMethod::Squash,
            "fast-forward-only" => MergeMethod::FastForwardOnly,
            _ => return None,
        },
        required_approvals: count(s, "merge.required_approvals")?,
        require_closes: flag(s, "merge.require_closes")?,
        delete_branch: flag(s, "merge.delete_branch")?,
    })
}

fn limits(s: &Settings) -> Option<Limits> {
    Some(Limits {
        ci_fixes: count(s, "limits.ci_fixes")?,
        review_rounds: count(s, "limits.review_rounds")?,
        respawns: count(s, "limits.respawns")?,
        nudges: count(s, "limits.nudges")?,
        rebases: count(s, "limits.rebases")?,
        escalate_reminder: duration(s, "limits.escalate_reminder")?,
        escalate_second: duration(s, "limits.escalate_second")?,
        escalate_timeout: duration(s, "limits.escalate_timeout")?,
    })
}

fn mirrors(s: &Settings, environment: &Environment) -> BTreeMap<String, String> {
    let Some(Value::Map(mirrors)) = s.value("mirrors") else { return BTreeMap::new() };
    let expanded = |url: &String| if url.starts_with('~') { environment.expand(url) } else { PathBuf::from(url) };
    mirrors.iter().map(|(name, url)| (name.clone(), expanded(url).to_string_lossy().into_owned())).collect()
}

fn text(settings: &Settings, path: &str) -> Option<String> {
    match settings.value(path)? {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn parsed<T: FromStr>(settings: &Settings, path: &str) -> Option<T> {
    text(settings, path)?.parse().ok()
}

fn flag(settings: &Settings, path: &str) -> Option<bool> {
    match settings.value(path)? {
        Value::Flag(flag) => Some(*flag),
        _ => None,
    }
}

fn number(settings: &Settings, path: &str) -> Option<u64> {
    match settings.value(path)? {
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

fn count(settings: &Settings, path: &str) -> Option<u32> {
    number(settings, path)?.try_into().ok()
}

fn duration(settings: &Settings, path: &str) -> Option<Duration> {
    match settings.value(path)? {
        Value::Duration(duration) => Some(*duration),
        _ => None,
    }
}

fn list(settings: &Settings, path: &str) -> Option<Vec<String>> {
    match settings.value(path)? {
        Value::List(list) => Some(list.clone()),
        _ => None,
    }
}

fn logins(settings: &Settings, path: &str) -> Option<Vec<Login>> {
    list(settings, path)?.iter().map(|login| login.parse().ok()).collect()
}
