//! The workspace port: the two bare repositories of a project (`work.git` for agents, `rig.git` for rig), worktrees, clean
//! checkouts for CI, and pushes to mirrors.

use crate::domain::{
    gate::Changes,
    ids::{BranchName, IssueNumber, Sha},
    run::WhenBehind,
};
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
    /// Files that were to be copied into it, and are not there to be copied.
    pub not_copied: Vec<String>,
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

/// What became of bringing a branch up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BroughtUp {
    /// The forge has the branch at this new commit.
    To(Sha),
    /// The forge's branch is not at the old head; where it is, if it is there at all.
    Elsewhere(Option<Sha>),
    /// It has everything of the primary branch already.
    UpToDate,
    /// git cannot do it without somebody's judgement.
    Conflict(String),
    /// The worktree has what the old head has not.
    NotClean(String),
    /// The forge does not take the push.
    Refused(String),
}

#[async_trait]
pub trait Workspace: Send + Sync {
    /// Makes or finds the worktree of an issue on `branch`: continues an existing worktree or branch as it is (local work
    /// first, then the remote's branch), else starts the branch at the primary branch's tip.
    async fn prepare(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<Worktree>;
    /// Returns whether the issue's worktree, as it is there now, was set up with this command.
    fn is_set_up(&self, issue: IssueNumber, command: &str) -> bool;
    /// Remembers that it was, until the worktree is made anew. Safe to repeat.
    fn remember_set_up(&self, issue: IssueNumber, command: &str) -> WorkspaceResult<()>;
    /// Returns how the branch stands now; asks the remote.
    async fn inspect(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<BranchState>;
    /// Copies the run's branch from `work.git` to `rig.git`.
    async fn collect(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<()>;
    /// Commits what no remote ref reaches (never ignored or copied files) to `rig/rescue/...` in `rig.git`. Returns the
    /// ref, or `None` when there was nothing to save.
    async fn rescue(&self, issue: IssueNumber, branch: &BranchName, label: &str) -> WorkspaceResult<Option<String>>;
    /// Rescues, then removes the worktree and its branch in `work.git`. Nothing there is success.
    async fn remove(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<()>;
    /// Returns the issues that have a worktree here.
    fn worktrees(&self) -> Vec<IssueNumber>;
    /// Fetches a commit from the forge if need be and checks it out in a new clean folder, with no way to a token.
    /// The caller removes the folder.
    async fn checkout(&self, commit: &Sha) -> WorkspaceResult<PathBuf>;
    /// Fetches the primary branch. Returns its tip.
    async fn fetch_primary(&self) -> WorkspaceResult<Sha>;
    /// Returns whether merging `head` into the remote's primary branch as it is now conflicts, by git's own judgement; both
    /// are fetched. An error means that nobody knows. Changes no branch, safe to repeat.
    async fn conflicts(&self, head: &Sha) -> WorkspaceResult<bool>;
    /// Returns whether the remote's primary branch, as it is now, has commits that `head` lacks; both are fetched.
    async fn is_behind(&self, head: &Sha) -> WorkspaceResult<bool>;
    /// Puts the commits of a run's branch from `head` onto the primary branch, or merges that into it, in `rig.git`; pushes the
    /// result to that branch alone, with a lease on `head`; and moves the worktree along when nothing of it is lost by that.
    /// Safe to repeat: what was made for `head` is remembered, and the forge's branch says whether it was pushed.
    async fn bring_up_to_date(
        &self,
        issue: IssueNumber,
        branch: &BranchName,
        head: &Sha,
        how: WhenBehind,
    ) -> WorkspaceResult<BroughtUp>;
    /// Returns whether two commits have the same files; both are fetched if need be.
    async fn same_files(&self, one: &Sha, other: &Sha) -> WorkspaceResult<bool>;
    /// Returns what `head` changes against the merge base with the remote's primary branch as it is now, complete, and the
    /// owners that the primary branch names; both are fetched. Changes no branch, safe to repeat.
    async fn changes(&self, head: &Sha) -> WorkspaceResult<Changes>;
    /// Pushes the primary branch at `commit` and all tags to one mirror, never forced.
    async fn push_mirror(&self, mirror: &str, url: &str, commit: &Sha) -> WorkspaceResult<MirrorPush>;
}
