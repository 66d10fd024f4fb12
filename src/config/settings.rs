//! What a project's configuration comes to, after files, environment and defaults: resolved once per process, immutable.
//! Deliberately absent: where a value came from (see `sources`) and every secret but the ones a port needs.

use crate::domain::{
    chat::Stream,
    guard::Policy,
    ids::{Login, ProjectName, RepositoryPath},
    repository::RepositoryKey,
    run::WhenBehind,
};
use secrecy::SecretString;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// One project, ready to be worked on.
#[derive(Debug, Clone)]
pub struct Project {
    pub name: ProjectName,
    pub repository: RepositoryPath,
    /// Base URL of the forge without a slash at its end, such as `https://git.example.org`.
    pub forge_url: String,
    /// A human's checkout that lends objects; never written to.
    pub repo_root: Option<PathBuf>,
    pub primary_branch: String,
    pub enabled: bool,
    pub forge: Forge,
    pub ci: Ci,
    pub agent: Agent,
    pub review: Review,
    pub guard: Policy,
    pub merge: Merge,
    pub labels: Labels,
    /// None when the project names no room.
    pub matrix: Option<Matrix>,
    pub notify: Notify,
    pub mirrors: BTreeMap<String, Mirror>,
    pub limits: Limits,
    /// Accepted keys that this version does not act on yet, as `[table] key`; told to the user.
    pub unused_keys: Vec<String>,
}

impl Project {
    /// Returns the repository in its one spelling, the same for all projects and roots that work it.
    pub fn key(&self) -> RepositoryKey {
        RepositoryKey::of(&self.forge_url, &self.repository)
    }
}

/// A repository that gets everything that is merged.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// git URL or path.
    pub url: String,
    /// Token for it over HTTP.
    pub token: Option<SecretString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgeKind {
    Forgejo,
    Gitea,
    Embedded,
}

#[derive(Debug, Clone)]
pub struct Forge {
    pub kind: ForgeKind,
    /// Account that rig acts as.
    pub bot: Login,
    pub token: SecretString,
    /// Token that `git push` of the agent is given; the bot's own when the project names none.
    pub push_token: SecretString,
    /// Checked to be another account than the bot; rig reviews nothing itself.
    pub review_token: Option<SecretString>,
    pub chore_authors: Vec<Login>,
    /// How often a driver looks at the forge while it waits for CI or review. Default 20 s.
    pub poll_interval: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CiProvider {
    Forge,
    Woodpecker,
    Local,
    None,
}

#[derive(Debug, Clone)]
pub struct Ci {
    pub provider: CiProvider,
    /// Shell command that `local` runs in a clean checkout.
    pub command: String,
    /// Address at which people find the log of a commit that `local` has checked, with `{sha}`; empty when there is none.
    pub log_url: String,
    /// Contexts that must be green; empty means those of branch protection, else those that the primary branch shows.
    pub required_contexts: Vec<String>,
    /// Globs: a change that lies wholly within them needs no CI.
    pub docs_only_paths: Vec<String>,
    pub timeout: Duration,
    /// A check that has not ended and shows no sign of life for longer is lost.
    pub stale: Option<Duration>,
    /// Present when the provider is Woodpecker.
    pub woodpecker: Option<Woodpecker>,
}

#[derive(Debug, Clone)]
pub struct Woodpecker {
    /// Base address of the server.
    pub url: String,
    /// Number of the repository there; looked up by name when it is not given.
    pub repository_id: Option<u64>,
    pub token: SecretString,
}

/// How the agent is driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentKind {
    Claude,
    /// Any program, read from its screen.
    Command {
        /// Regular expression of its empty input line.
        ready_pattern: String,
        /// Time without any change of the screen after which a turn has ended.
        idle_time: Duration,
    },
}

#[derive(Debug, Clone)]
pub struct Agent {
    pub kind: AgentKind,
    /// Program to start; `claude` by default.
    pub command: String,
    pub args: Vec<String>,
    pub model: Option<String>,
    /// Most observed time that a run's agent may work in total. Default 7200 s.
    pub timeout: Duration,
    /// Most observed time without any sign of life while it works.
    pub idle_timeout: Duration,
    /// Most observed time until a session takes its first prompt. Default 60 s.
    pub ready_timeout: Duration,
    /// Shell command that makes a fresh worktree runnable.
    pub setup: Option<String>,
    pub setup_timeout: Duration,
    pub max_agents: u32,
    /// Names of further environment variables that the agent may see.
    pub env_allow: Vec<String>,
    /// Those of them that are set, in the process or in `state/env`; keys of the agent's service are among them.
    pub env: Vec<(String, SecretString)>,
    /// Below this much available memory no new session starts; MiB. Default 2000.
    pub min_free_memory_mb: u64,
    /// Paths copied from `repo_root` into the worktree.
    pub copy_files: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Review {
    /// Accounts whose approval counts; empty means any reviewer that the forge calls official.
    pub reviewers: Vec<Login>,
    pub timeout: Duration,
    /// Accounts among the reviewers that are no people: what the gate rests on changes only with a person's approval.
    pub bots: Vec<Login>,
    /// Verdicts in marker comments of `reviewers` count too.
    pub marker_comments: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeMethod {
    Merge,
    Rebase,
    RebaseMerge,
    Squash,
    FastForwardOnly,
}

#[derive(Debug, Clone)]
pub struct Merge {
    pub method: MergeMethod,
    pub required_approvals: u32,
    /// A pull request for an issue must say `Closes #N` (or another closing keyword).
    pub require_closes: bool,
    /// A file that has owners in CODEOWNERS needs the approval of one of them.
    pub require_code_owners: bool,
    /// Globs of files whose change a person must approve, beyond those that rig knows itself.
    pub protected_paths: Vec<String>,
    pub delete_branch: bool,
    /// How an accepted branch that lacks commits of the primary branch is brought up to date.
    pub when_behind: WhenBehind,
    /// Template of the merge commit's first line; empty for the forge's own.
    pub title: String,
    /// Template of the rest of its message; empty for the forge's own.
    pub message: String,
}

/// The name of each label that rig uses on this forge.
#[derive(Debug, Clone)]
pub struct Labels {
    pub backlog: String,
    pub priority: String,
    pub in_progress: String,
    pub blocked: String,
    pub underspecified: String,
    /// Further labels (globs) that make an issue not claimable.
    pub skip: Vec<String>,
}

/// The room in which people are told of the project's runs, and answer.
#[derive(Debug, Clone)]
pub struct Matrix {
    pub homeserver: String,
    pub room: String,
    /// Account that rig logs in as; the one that was logged in at this homeserver when the project names none.
    pub bot_user: Option<String>,
    /// For rooms without encryption, in place of a login.
    pub token: Option<SecretString>,
    /// Who is notified when somebody must act.
    pub mention_user: Option<String>,
    /// Who is notified too when nobody has answered for long.
    pub second_contact: Option<String>,
    /// Whose replies and commands count.
    pub allowed_users: Vec<String>,
    pub stream: Stream,
}

/// Other ways to people.
#[derive(Debug, Clone)]
pub struct Notify {
    pub webhook: Option<String>,
    /// Key of the signature of what is sent to the webhook.
    pub webhook_secret: Option<SecretString>,
    /// Shell command that gets each notice as JSON.
    pub command: Option<String>,
    /// Most time that the webhook or the command may take.
    pub timeout: Duration,
}

#[derive(Debug, Clone)]
pub struct Limits {
    pub ci_fixes: u32,
    pub review_rounds: u32,
    pub respawns: u32,
    pub nudges: u32,
    pub rebases: u32,
    /// Requests that one tick may make to the forge.
    pub api_calls: u32,
    pub escalate_reminder: Duration,
    pub escalate_second: Duration,
    pub escalate_timeout: Duration,
}
