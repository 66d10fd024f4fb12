//! What a merge is made of: the commit that the base moves to, by style, made with plumbing in the bare repository. No ref moves
//! here, so a failure leaves nothing but unreachable objects.

use super::git::{Git, GitError, Identity};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Merge,
    Rebase,
    RebaseMerge,
    Squash,
    FastForwardOnly,
}

impl Style {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "merge" => Some(Self::Merge),
            "rebase" => Some(Self::Rebase),
            "rebase-merge" => Some(Self::RebaseMerge),
            "squash" => Some(Self::Squash),
            "fast-forward-only" => Some(Self::FastForwardOnly),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Rebase => "rebase",
            Self::RebaseMerge => "rebase-merge",
            Self::Squash => "squash",
            Self::FastForwardOnly => "fast-forward-only",
        }
    }

    /// Returns the repository's setting that allows this style.
    pub(super) fn switch(self) -> &'static str {
        match self {
            Self::Merge => "allow_merge_commits",
            Self::Rebase => "allow_rebase",
            Self::RebaseMerge => "allow_rebase_explicit",
            Self::Squash => "allow_squash_merge",
            Self::FastForwardOnly => "allow_fast_forward_only_merge",
        }
    }
}

/// Why there is no commit to move to.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    #[error("conflict")]
    Conflict { stdout: String, stderr: String },
    #[error("the base is not an ancestor of the head")]
    Diverging,
    #[error(transparent)]
    Git(#[from] GitError),
}

/// What is to be merged, by whom, with what words.
pub(super) struct Merge<'a> {
    pub(super) style: Style,
    pub(super) base: &'a str,
    pub(super) head: &'a str,
    pub(super) message: &'a str,
    /// Author of a squash.
    pub(super) author: &'a Identity,
    pub(super) merger: &'a Identity,
}

impl Merge<'_> {
    /// Makes the commit that the base is to move to. Returns its id.
    pub(super) async fn commit(&self, git: &Git) -> Result<String, MergeError> {
        match self.style {
            Style::Merge => self.join(git, self.head).await,
            Style::Squash => {
                let tree = merged_tree(git, self.base, self.head).await?;
                Ok(git.commit_tree(&tree, &[self.base], self.message, self.author, self.merger).await?)
            }
            Style::Rebase => self.rebased(git).await,
            Style::RebaseMerge => {
                let rebased = self.rebased(git).await?;
                self.join(git, &rebased).await
            }
            Style::FastForwardOnly if git.is_ancestor(self.base, self.head).await? => Ok(self.head.to_owned()),
            Style::FastForwardOnly => Err(MergeError::Diverging),
        }
    }

    async fn join(&self, git: &Git, head: &str) -> Result<String, MergeError> {
        let tree = merged_tree(git, self.base, head).await?;
        Ok(git.commit_tree(&tree, &[self.base, head], self.message, self.merger, self.merger).await?)
    }

    async fn rebased(&self, git: &Git) -> Result<String, MergeError> {
        if git.is_ancestor(self.base, self.head).await? {
            return Ok(self.head.to_owned());
        }
        let range = format!("{}..{}", self.base, self.head);
        let commits = git.text(&["rev-list", "--reverse", "--topo-order", "--no-merges", &range]).await?;
        let mut onto = self.base.to_owned();
        for commit in commits.lines() {
            onto = self.picked(git, commit, &onto).await?;
        }
        Ok(onto)
    }

    /// Puts one commit onto another. The merge gets its base from two parentless stand-ins, because telling `merge-tree` the
    /// base directly needs a newer git than some systems have.
    async fn picked(&self, git: &Git, commit: &str, onto: &str) -> Result<String, MergeError> {
        let text = git.text(&["log", "-1", "--format=%P%n%an%n%ae%n%ad%n%B", "--date=raw", commit]).await?;
        let mut lines = text.splitn(5, '\n');
        let mut next = || lines.next().unwrap_or_default().to_owned();
        let (parent, name, email, date, message) = (next(), next(), next(), next(), next());
        let base = match parent.split(' ').next().unwrap_or_default() {
            "" => git.checked(git.program().args(["mktree"]).stdin(b"".as_slice()), &["mktree"]).await?.text(),
            parent => format!("{parent}^{{tree}}"),
        };
        let root = git.commit_tree(&base, &[], "base", self.merger, self.merger).await?;
        let stand_in = async |tree: &str| {
            git.commit_tree(&format!("{tree}^{{tree}}"), &[&root], "side", self.merger, self.merger).await
        };
        let (ours, theirs) = (stand_in(onto).await?, stand_in(commit).await?);
        let tree = merged_tree(git, &ours, &theirs).await?;
        let author = Identity { name, email, date };
        Ok(git.commit_tree(&tree, &[onto], &message, &author, self.merger).await?)
    }
}

async fn merged_tree(git: &Git, ours: &str, theirs: &str) -> Result<String, MergeError> {
    let output = git.run(&["merge-tree", "--write-tree", ours, theirs]).await?;
    if output.status.success() {
        return Ok(output.text().lines().next().unwrap_or_default().to_owned());
    }
    Err(MergeError::Conflict { stdout: output.text(), stderr: output.error_text() })
}
