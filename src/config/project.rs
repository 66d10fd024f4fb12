//! Makes the typed project of its settings: what keys mean together, which secrets there are, and what this version leaves
//! aside. Everything that is wrong is told at once.

use super::{
    environment::Environment,
    problem::Problem,
    resolve::{Origin, Settings},
    schema::{KEYS, Key},
    settings::{
        Agent, AgentKind, Ci, CiProvider, Forge, ForgeKind, Labels, Limits, Matrix, Merge, MergeMethod, Mirror, Notify,
        Project, Review, Woodpecker,
    },
    value::Value,
};
use crate::domain::{chat::Stream, guard::Policy, ids::Login, run::WhenBehind};
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
    // Without the Matrix client nobody is at the homeserver that the file names.
    let acted_on = |key: &Key| key.acted_on && (cfg!(feature = "matrix") || key.path() != "matrix.homeserver");
    let left_aside = KEYS.iter().filter(|key| !acted_on(key)).filter(|key| {
        let setting = settings.get(&key.path());
        // A key that says what rig does anyway is as good as acted on.
        let default = key.default.and_then(|text| super::resolve::parse_default(key, text));
        setting.is_some_and(|setting| matches!(setting.origin, Origin::File { .. }) && setting.value != default)
    });
    left_aside.map(Key::label).collect()
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
    if text("ci.provider") == "woodpecker" && settings.value("ci.woodpecker_url").is_none() {
        found.push((
            "ci.provider",
            "`ci.provider` = \"woodpecker\" needs `ci.woodpecker_url`".to_owned(),
            "such as woodpecker_url = \"https://ci.example.org\"",
        ));
    }
    let is_set = |path: &str| matches!(settings.get(path), Some(s) if matches!(s.origin, Origin::File { .. }));
    if text("agent.kind") == "command" {
        let is_told = settings.problems.iter().any(|problem| problem.message.starts_with("`agent.ready_pattern`"));
        if !is_set("agent.ready_pattern") && !is_told {
            let message = "`agent.kind` = \"command\" needs `agent.ready_pattern`, which shows its empty input line";
            found.push(("agent.kind", message.to_owned(), "such as ready_pattern = \"^you> \""));
        }
        if !is_set("agent.command") {
            let message = "`agent.kind` = \"command\" needs `agent.command`, the program".to_owned();
            found.push(("agent.kind", message, "such as command = \"/usr/local/bin/agent\""));
        }
        if is_set("agent.model") {
            let message = "`agent.model` is for `agent.kind` = \"claude\"".to_owned();
            found.push(("agent.model", message, "name the model in `args`, as the program wants it"));
        }
    } else if let Some(path) = ["agent.ready_pattern", "agent.idle_time"].into_iter().find(|path| is_set(path)) {
        let message = format!("`{path}` is for `agent.kind` = \"command\"; claude's own hooks tell");
        found.push((path, message, "leave it out"));
    }
    if !list("agent.copy_files").is_empty() && settings.value("repo_root").is_none() {
        let message = "`agent.copy_files` needs `repo_root`, the checkout that the files are copied from".to_owned();
        found.push(("agent.copy_files", message, "set repo_root"));
    }
    let of_file = |path: &str| matches!(settings.get(path).map(|setting| &setting.origin), Some(Origin::File { .. }));
    for (one, other) in [("matrix.homeserver", "matrix.room_id"), ("matrix.room_id", "matrix.homeserver")] {
        if of_file(one) && settings.value(other).is_none() {
            found.push((one, format!("`{one}` needs `{other}`"), "both name the room that people are told in"));
        }
    }
    if settings.value("notify.webhook_secret_env").is_some() && settings.value("notify.webhook").is_none() {
        found.push(("notify.webhook_secret_env", "`notify.webhook_secret_env` needs `notify.webhook`".to_owned(), ""));
    }
    let secret_names = [
        "forge.token_env",
        "forge.review_token_env",
        "forge.push_token_env",
        "ci.woodpecker_token_env",
        "matrix.token_env",
        "notify.webhook_secret_env",
    ];
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
    mirrors: BTreeMap<String, SecretString>,
    /// Present when CI is Woodpecker's.
    woodpecker: Option<SecretString>,
    webhook: Option<SecretString>,
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
        let mirrors = mirror_tokens(settings, environment);
        let webhook = match named(settings, "notify.webhook_secret_env") {
            true => Some(secret(settings, environment, "notify.webhook_secret_env")?),
            false => None,
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
        let woodpecker = match text(settings, "ci.provider").as_deref() {
            Some("woodpecker") => Some(secret(settings, environment, "ci.woodpecker_token_env")?),
            _ => None,
        };
        Some(Self { token, push, review, webhook, woodpecker, mirrors })
    }
}

fn named(settings: &Settings, path: &str) -> bool {
    settings.value(path).is_some()
}

fn secret(settings: &mut Settings, environment: &Environment, path: &str) -> Option<SecretString> {
    let Some(Value::Text(variable)) = settings.value(path).cloned() else { return None };
    secret_in(settings, environment, path, &variable)
}

fn secret_in(settings: &mut Settings, environment: &Environment, path: &str, variable: &str) -> Option<SecretString> {
    if let Some((value, _)) = environment.get(variable) {
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
    let mirrors = mirrors(s, environment, secrets.mirrors.clone());
    Some(Project {
        name: parsed(s, "name")?,
        repository: parsed(s, "repo")?,
        forge_url: text(s, "forge_url")?,
        repo_root: text(s, "repo_root").map(|path| environment.expand(&path)),
        primary_branch: text(s, "primary_branch")?,
        enabled: flag(s, "enabled")?,
        ci: ci(s, secrets.woodpecker.clone())?,
        matrix: matrix(s, environment)?,
        notify: Notify {
            webhook: text(s, "notify.webhook"),
            webhook_secret: secrets.webhook.clone(),
            command: text(s, "notify.command"),
            timeout: duration(s, "notify.timeout")?,
        },
        forge: forge(s, secrets)?,
        agent: agent(s, environment)?,
        review: Review {
            reviewers: logins(s, "review.reviewers")?,
            bots: logins(s, "review.bots")?,
            timeout: duration(s, "review.timeout")?,
            marker_comments: flag(s, "review.marker_comments")?,
        },
        guard: guard(s, environment)?,
        merge: merge(s)?,
        labels: Labels {
            backlog: text(s, "labels.backlog")?,
            priority: text(s, "labels.priority")?,
            in_progress: text(s, "labels.in_progress")?,
            blocked: text(s, "labels.blocked")?,
            underspecified: text(s, "labels.underspecified")?,
            skip: list(s, "labels.skip")?,
        },
        mirrors,
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

fn ci(s: &Settings, woodpecker: Option<SecretString>) -> Option<Ci> {
    let woodpecker = match woodpecker {
        Some(token) => {
            let repository_id = number(s, "ci.woodpecker_repo_id");
            Some(Woodpecker { url: text(s, "ci.woodpecker_url")?, repository_id, token })
        }
        None => None,
    };
    Some(Ci {
        provider: match text(s, "ci.provider")?.as_str() {
            "forge" => CiProvider::Forge,
            "woodpecker" => CiProvider::Woodpecker,
            "local" => CiProvider::Local,
            "none" => CiProvider::None,
            _ => return None,
        },
        command: text(s, "ci.command").unwrap_or_default(),
        log_url: text(s, "ci.log_url").unwrap_or_default(),
        required_contexts: list(s, "ci.required_contexts")?,
        docs_only_paths: list(s, "ci.docs_only_paths")?,
        timeout: duration(s, "ci.timeout")?,
        stale: number(s, "ci.stale_minutes").map(|minutes| Duration::from_secs(minutes * 60)),
        woodpecker,
    })
}

fn agent(s: &Settings, environment: &Environment) -> Option<Agent> {
    let env_allow = list(s, "agent.env_allow")?;
    let value = |name: &String| Some((name.clone(), SecretString::from(environment.get(name)?.0)));
    Some(Agent {
        kind: match text(s, "agent.kind")?.as_str() {
            "claude" => AgentKind::Claude,
            "command" => AgentKind::Command {
                ready_pattern: text(s, "agent.ready_pattern")?,
                idle_time: duration(s, "agent.idle_time")?,
            },
            _ => return None,
        },
        command: text(s, "agent.command")?,
        args: list(s, "agent.args")?,
        model: text(s, "agent.model"),
        timeout: duration(s, "agent.timeout")?,
        idle_timeout: duration(s, "agent.idle_timeout")?,
        ready_timeout: duration(s, "agent.ready_timeout")?,
        setup: text(s, "agent.setup"),
        setup_timeout: duration(s, "agent.setup_timeout")?,
        max_agents: count(s, "agent.max_agents")?,
        env: env_allow.iter().filter_map(value).collect(),
        env_allow,
        min_free_memory_mb: number(s, "agent.min_free_memory_mb")?,
        copy_files: list(s, "agent.copy_files")?,
    })
}

fn guard(s: &Settings, environment: &Environment) -> Option<Policy> {
    Some(Policy {
        enabled: flag(s, "guard.enabled")?,
        allow_commands: list(s, "guard.allow_commands")?,
        deny_commands: list(s, "guard.deny_commands")?,
        allow_paths: list(s, "guard.allow_paths")?.iter().map(|path| environment.expand(path)).collect(),
        allow_sudo: flag(s, "guard.allow_sudo")?,
        allow_packages: flag(s, "guard.allow_packages")?,
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
        require_code_owners: flag(s, "merge.require_codeowners")?,
        protected_paths: list(s, "merge.protected_paths")?,
        delete_branch: flag(s, "merge.delete_branch")?,
        when_behind: match text(s, "merge.when_behind")?.as_str() {
            "as-is" => WhenBehind::AsIs,
            "rebase" => WhenBehind::Rebase,
            "update" => WhenBehind::Update,
            _ => return None,
        },
        title: text(s, "merge.title").unwrap_or_default(),
        message: text(s, "merge.message").unwrap_or_default(),
    })
}

/// The outer `None` tells of a key that the schema and this do not agree on.
fn matrix(s: &Settings, environment: &Environment) -> Option<Option<Matrix>> {
    let (Some(homeserver), Some(room)) = (text(s, "matrix.homeserver"), text(s, "matrix.room_id")) else {
        return Some(None);
    };
    let token = environment.get(&text(s, "matrix.token_env")?).map(|(value, _)| value.trim());
    Some(Some(Matrix {
        homeserver,
        room,
        bot_user: text(s, "matrix.bot_user"),
        token: token.filter(|token| !token.is_empty()).map(SecretString::from),
        mention_user: text(s, "matrix.mention_user"),
        second_contact: text(s, "matrix.second_contact"),
        allowed_users: list(s, "matrix.allowed_users")?,
        stream: match text(s, "matrix.stream")?.as_str() {
            "none" => Stream::None,
            "summary" => Stream::Summary,
            "full" => Stream::Full,
            _ => return None,
        },
    }))
}

fn limits(s: &Settings) -> Option<Limits> {
    Some(Limits {
        ci_fixes: count(s, "limits.ci_fixes")?,
        review_rounds: count(s, "limits.review_rounds")?,
        respawns: count(s, "limits.respawns")?,
        nudges: count(s, "limits.nudges")?,
        rebases: count(s, "limits.rebases")?,
        api_calls: count(s, "limits.api_calls")?,
        escalate_reminder: duration(s, "limits.escalate_reminder")?,
        escalate_second: duration(s, "limits.escalate_second")?,
        escalate_timeout: duration(s, "limits.escalate_timeout")?,
    })
}

fn mirrors(
    s: &Settings,
    environment: &Environment,
    mut tokens: BTreeMap<String, SecretString>,
) -> BTreeMap<String, Mirror> {
    let Some(Value::Map(mirrors)) = s.value("mirrors") else { return BTreeMap::new() };
    let expanded = |url: &String| if url.starts_with('~') { environment.expand(url) } else { PathBuf::from(url) };
    let mirror = |(name, url): (&String, &String)| {
        let url = expanded(url).to_string_lossy().into_owned();
        (name.clone(), Mirror { url, token: tokens.remove(name) })
    };
    mirrors.iter().map(mirror).collect()
}

/// Returns the tokens of mirrors by the mirrors' names. One that is named and not there is a problem of the project.
fn mirror_tokens(settings: &mut Settings, environment: &Environment) -> BTreeMap<String, SecretString> {
    let map = |path: &str, settings: &Settings| match settings.value(path) {
        Some(Value::Map(map)) => map.clone(),
        _ => BTreeMap::new(),
    };
    let mirrors = map("mirrors", settings);
    let mut tokens = BTreeMap::new();
    for (name, variable) in map("mirror_tokens", settings) {
        match mirrors.get(&name) {
            None => {
                let message = format!("`mirror_tokens.{name}` belongs to no mirror");
                settings.problem("mirror_tokens", message, format!("add {name} to [mirrors], or leave it out"));
            }
            Some(url) if !url.starts_with("https://") && !url.starts_with("http://") => {
                let message = format!("`mirror_tokens.{name}` is for a mirror that is not reached over HTTP");
                settings.problem("mirror_tokens", message, "over ssh, the key of the user who runs rig opens it");
            }
            Some(_) => {
                tokens.extend(secret_in(settings, environment, "mirror_tokens", &variable).map(|token| (name, token)))
            }
        }
    }
    tokens
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
