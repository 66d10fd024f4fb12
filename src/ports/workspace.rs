//! The workspace port: the two bare repositories of a project (`work.git` for agents, `rig.git` for rig), worktrees, clean
//! checkouts for CI, and pushes to mirrors.

use crate::domain::ids::{BranchName, IssueNumber, Sha};
use async_trait::async_trait;
use std::path::PathBuf;

#[derive(Debug, Clone, thiserror::Error)]
pub enum WorkspaceError {
    /// The remote could not be reached or did not answer in time.
    #[error("{what}: {message}")]
    Unavailable { what: String, message: String },
    /// git refused, or the local state does not allow it.
    #[error("{what}: {message}")]
    Failed { what: String, message: String },
}

impl WorkspaceError {
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

pub type WorkspaceResult<T> = Result<T, WorkspaceError>;

/// A worktree that an agent can work in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worktree {
    pub path: PathBuf,
    pub branch: BranchName,
    pub head: Sha,
    /// Tip of the primary branch when the worktree was made or found.
    pub base: Sha,
}

/// How a run's branch stands, here and on the forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchState {
    /// Tip in the worktree.
    pub local: Sha,
    /// Tip on the remote, asked from the remote now; `None` when it has no such branch.
    pub remote: Option<Sha>,
    /// Tip of the primary branch on the remote.
    pub base: Sha,
    /// Commits of `local` that the primary branch does not have.
    pub ahead: u32,
    /// Tracked files changed and not committed, plus untracked files that are not ignored.
    pub uncommitted: u32,
    /// `git diff --stat` of the branch against its merge base, bounded.
    pub diff_stat: String,
}

/// What a push to a mirror came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorPush {
    /// The mirror's primary branch is at this commit.
    At(Sha),
    /// The mirror has commits that the primary branch does not have; nothing was forced.
    Diverged(String),
    Failed(String),
}

#[async_trait]
pub trait Workspace: Send + Sync {
    /// Makes or finds the worktree of an issue on `branch`: continues an existing worktree or branch as it is (local work
    /// first, then the remote's branch), else starts the branch at the primary branch's tip.
    async fn prepare(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<Worktree>;
    /// Returns how the branch stands now; asks the remote.
    async fn inspect(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<BranchState>;
    /// Copies the run's branch from `work.git` to `rig.git`.
    async fn collect(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<()>;
    /// Commits what no remote ref reaches (never ignored or copied files) to `rig/rescue/...` in `rig.git`. Returns the
    /// ref, or `None` when there was nothing to save.
    async fn rescue(&self, issue: IssueNumber, branch: &BranchName, label: &str) -> WorkspaceResult<Option<String>>;
    /// Rescues, then removes the worktree and its branch in `work.git`. Nothing there is success.
    async fn remove(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<()>;
    /// Fetches a commit from the forge if need be and checks it out in a new clean folder, with no way to a token.
    /// The caller removes the folder.
    async fn checkout(&self, commit: &Sha) -> WorkspaceResult<PathBuf>;
    /// Fetches the primary branch. Returns its tip.
    async fn fetch_primary(&self) -> WorkspaceResult<Sha>;
    /// Returns whether merging `head` into the remote's primary branch as it is now conflicts, by git's own judgement; both
    /// are fetched. An error means that nobody knows. Changes no branch, safe to repeat.
    async fn conflicts(&self, head: &Sha) -> WorkspaceResult<bool>;
    /// Pushes the primary branch at `commit` and all tags to one mirror, never forced.
    async fn push_mirror(&self, mirror: &str, url: &str, commit: &Sha) -> WorkspaceResult<MirrorPush>;
}
