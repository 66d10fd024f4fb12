//! Makes the typed project of its settings: what keys mean together, which secrets there are, and what this version leaves
//! aside. Everything that is wrong is told at once.

mod consistency;
mod read;
mod secrets;

use self::{
    consistency::{check_repo_root, check_together},
    read::{count, duration, flag, list, logins, map, number, parsed, text},
    secrets::Secrets,
};
use super::{
    environment::Environment,
    problem::Problem,
    resolve::{Origin, Settings},
    schema::{KEYS, Key},
    settings::{
        Agent, AgentKind, Ci, CiProvider, Forge, ForgeKind, Labels, Limits, Matrix, Merge, MergeMethod, Mirror, Notify,
        Project, Review, Woodpecker,
    },
};
use crate::domain::{chat::Stream, guard::Policy, run::WhenBehind};
use secrecy::SecretString;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

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
    let expanded = |url: &String| if url.starts_with('~') { environment.expand(url) } else { PathBuf::from(url) };
    let mirror = |(name, url): (&String, &String)| {
        let url = expanded(url).to_string_lossy().into_owned();
        (name.clone(), Mirror { url, token: tokens.remove(name) })
    };
    map(s, "mirrors").iter().map(mirror).collect()
}
