//! What a project's configuration comes to, after files, environment and defaults: resolved once per process, immutable.
//! Deliberately absent: where a value came from (see `sources`) and every secret but the ones a port needs.

use crate::domain::ids::{Login, ProjectName, RepositoryPath};
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
    pub merge: Merge,
    pub labels: Labels,
    /// Name to git URL or path.
    pub mirrors: BTreeMap<String, String>,
    pub limits: Limits,
    /// Accepted keys that this version does not act on yet, as `[table] key`; told to the user.
    pub unused_keys: Vec<String>,
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
    Local,
    None,
}

#[derive(Debug, Clone)]
pub struct Ci {
    pub provider: CiProvider,
    /// Shell command that `local` runs in a clean checkout.
    pub command: String,
    /// Contexts that must be green; empty means those of branch protection, else those that the primary branch shows.
    pub required_contexts: Vec<String>,
    pub timeout: Duration,
}

#[derive(Debug, Clone)]
pub struct Agent {
    /// Program to start; `claude` by default.
    pub command: String,
    pub args: Vec<String>,
    pub model: Option<String>,
    /// Most observed time that a run's agent may work in total. Default 7200 s.
    pub timeout: Duration,
    /// Most observed time without any sign of life while it works.
    pub idle_timeout: Duration,
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
    pub delete_branch: bool,
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

#[derive(Debug, Clone)]
pub struct Limits {
    pub ci_fixes: u32,
    pub review_rounds: u32,
    pub respawns: u32,
    pub nudges: u32,
    pub rebases: u32,
    pub escalate_reminder: Duration,
    pub escalate_second: Duration,
    pub escalate_timeout: Duration,
}
