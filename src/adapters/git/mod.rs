//! The workspace over real git. `rig.git` is rig's own bare repository: everything from the forge comes in through it, CI
//! checkouts, rescues and mirrors go out of it. `work.git` carries the agents' worktrees and is the agents' to spoil: no
//! token comes near it, and of its configuration rig's calls read at most what cannot run anything.
//! Deliberately absent: every decision what is to be kept or thrown away.

mod changes;
mod checkout;
mod command;
mod conflicts;
mod copy_files;
mod inspect;
mod lock;
pub(super) mod mirror_command;
mod rebase;
mod rebase_commits;
mod repositories;
mod rescue;
mod rescue_push;
mod stale;
mod url;
mod worktree;

pub use checkout::{CHECKOUT_VARIABLE, remove_checkout};
pub use command::NETWORK_TIMEOUT;

use super::mirror;
use crate::{
    domain::{
        gate::Changes,
        ids::{BranchName, IssueNumber, Sha},
        redact::Redactor,
        run::WhenBehind,
    },
    ports::workspace::{BranchState, BroughtUp, MirrorPush, Workspace, WorkspaceResult, Worktree},
};
use async_trait::async_trait;
use secrecy::SecretString;
use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};
use url::Remote;

/// What a project's workspace is made from.
pub struct GitPlan {
    /// Folder of the two bare repositories, the checkouts and the locks; 0700, made when missing.
    pub git_dir: PathBuf,
    /// Returns the folder of an issue's worktree.
    pub worktree: Box<dyn Fn(IssueNumber) -> PathBuf + Send + Sync>,
    /// URL or path of the repository on the forge.
    pub remote_url: String,
    /// Token for rig's own reading from the remote; used over HTTP only. Empty for none.
    pub token: SecretString,
    /// Token for pushing a branch that rig has brought up to date.
    pub push_token: SecretString,
    /// Tokens of mirrors, by the mirror's name; used over HTTP only.
    pub mirror_tokens: BTreeMap<String, SecretString>,
    pub primary_branch: String,
    /// A human's checkout: its objects spare a download, and `copy_files` come from it. Never written to.
    pub repo_root: Option<PathBuf>,
    /// Paths relative to `repo_root` that make a worktree runnable, such as `.env`.
    pub copy_files: Vec<String>,
    /// Name and address in commits that rig makes itself, and the default of those that an agent makes.
    pub author_name: String,
    pub author_email: String,
    /// Time that one command to the remote or to a mirror may take; `NETWORK_TIMEOUT` unless there is a reason.
    pub network_timeout: Duration,
}

/// The workspace of one project. Cheap to make: nothing is touched before it is asked for.
pub struct GitWorkspace {
    plan: GitPlan,
    remote: Remote,
    /// Where rescues are pushed to, logged in as who may push, and what finds secrets in them; none are pushed without.
    rescues: Option<(Remote, Arc<Redactor>)>,
}

impl GitWorkspace {
    /// Returns the workspace; credentials in the remote URL are kept out of every command line and stored file.
    pub fn new(plan: GitPlan) -> Self {
        let remote = Remote::parse(&plan.remote_url).with_token(&plan.token);
        Self { plan, remote, rescues: None }
    }

    /// Returns the same workspace, which also pushes rescues to the forge unless `redactor` finds a secret in them.
    #[must_use]
    pub fn pushing_rescues(mut self, token: &SecretString, redactor: Arc<Redactor>) -> Self {
        self.rescues = Some((Remote::parse(&self.plan.remote_url).with_token(token), redactor));
        self
    }
}

impl fmt::Debug for GitWorkspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitWorkspace").field("git_dir", &self.plan.git_dir).field("remote", &self.remote.url()).finish()
    }
}

#[async_trait]
impl Workspace for GitWorkspace {
    async fn prepare(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<Worktree> {
        self.prepare_worktree(issue, branch).await
    }

    fn is_set_up(&self, issue: IssueNumber, command: &str) -> bool {
        std::fs::read_to_string(self.set_up_file(issue)).is_ok_and(|done| done == command)
    }

    fn remember_set_up(&self, issue: IssueNumber, command: &str) -> WorkspaceResult<()> {
        repositories::make_folder(&self.plan.git_dir.join("set-up"))?;
        repositories::write(&self.set_up_file(issue), command)
    }

    async fn inspect(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<BranchState> {
        self.inspect_branch(issue, branch).await
    }

    async fn collect(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<()> {
        let _lock = self.lock_rig().await?;
        self.collect_branch(issue, branch).await.map(drop)
    }

    async fn rescue(&self, issue: IssueNumber, branch: &BranchName, label: &str) -> WorkspaceResult<Option<String>> {
        self.rescue_work(issue, branch, label).await
    }

    async fn remove(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<()> {
        self.remove_worktree(issue, branch).await
    }

    fn worktrees(&self) -> Vec<IssueNumber> {
        self.list_worktrees()
    }

    async fn checkout(&self, commit: &Sha) -> WorkspaceResult<PathBuf> {
        self.check_out(commit).await
    }

    async fn fetch_primary(&self) -> WorkspaceResult<Sha> {
        self.fetch().await
    }

    async fn conflicts(&self, head: &Sha) -> WorkspaceResult<bool> {
        self.merge_conflicts(head).await
    }

    async fn is_behind(&self, head: &Sha) -> WorkspaceResult<bool> {
        self.lacks_primary(head).await
    }

    async fn bring_up_to_date(
        &self,
        issue: IssueNumber,
        branch: &BranchName,
        head: &Sha,
        how: WhenBehind,
    ) -> WorkspaceResult<BroughtUp> {
        self.bring_branch_up(issue, branch, head, how).await
    }

    async fn same_files(&self, one: &Sha, other: &Sha) -> WorkspaceResult<bool> {
        self.have_same_files(one, other).await
    }

    async fn changes(&self, head: &Sha) -> WorkspaceResult<Changes> {
        self.changes_of(head).await
    }

    async fn push_mirror(&self, mirror: &str, url: &str, commit: &Sha) -> WorkspaceResult<MirrorPush> {
        mirror::push(self, mirror, url, commit).await
    }
}
