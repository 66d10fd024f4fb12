//! A pull request, its reviews and its commit statuses, as rig sees them, whatever the forge.

use super::ids::{BranchName, Login, PullRequestNumber, Sha};
use super::issue::OpenOrClosed;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    pub number: PullRequestNumber,
    pub title: String,
    pub body: String,
    pub author: Login,
    pub state: OpenOrClosed,
    pub merged: bool,
    pub merge_commit: Option<Sha>,
    pub head: Sha,
    /// `None` when the branch is gone or its name is not one that git accepts.
    pub head_branch: Option<BranchName>,
    /// Whether the head branch lies in the repository itself, not in a fork.
    pub same_repository: bool,
    pub base_branch: String,
    /// What the forge says of merging without conflict. Forges say "no" also while they still compute it.
    pub mergeable: bool,
    pub draft: bool,
    pub created_at: Timestamp,
    pub url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Approved,
    ChangesRequested,
    /// A comment without a verdict.
    Comment,
    /// Not submitted yet, a request for review, or a word that this version does not know.
    None,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    pub id: u64,
    pub reviewer: Login,
    pub verdict: Verdict,
    /// The commit that was reviewed; `None` when the forge does not say.
    pub commit: Option<Sha>,
    pub body: String,
    pub comments: Vec<InlineComment>,
    /// The forge says that the head has moved since.
    pub stale: bool,
    /// The forge counts this reviewer.
    pub official: bool,
    pub dismissed: bool,
    pub submitted_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlineComment {
    pub path: String,
    /// Line in the new version of the file; 0 when the comment is on a removed line.
    pub line: u64,
    pub body: String,
    /// Somebody has marked its thread as resolved; `false` where the forge knows no such mark.
    #[serde(default)]
    pub resolved: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusState {
    Pending,
    Success,
    Failure,
    Error,
    Warning,
    Skipped,
    /// A word that this version does not know: never green.
    Other,
}

/// Latest commit status of one context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub context: String,
    pub state: StatusState,
    pub description: String,
    pub target_url: String,
    /// When it was posted or last changed; `None` when the forge does not say.
    pub changed_at: Option<Timestamp>,
}

impl Status {
    /// Returns the status as it is to be judged: one that has been pending for longer than `stale` is lost, which is the
    /// fault of CI itself.
    #[must_use]
    pub fn unless_lost(mut self, now: Timestamp, stale: Option<SignedDuration>) -> Self {
        if let (Some(stale), Some(at), StatusState::Pending) = (stale, self.changed_at, self.state)
            && now.duration_since(at) > stale
        {
            self.state = StatusState::Error;
            self.description = format!("pending for more than {} minutes", stale.as_secs() / 60);
        }
        self
    }
}

/// What the forge itself demands of a branch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    pub required_approvals: u32,
    /// Globs of required status contexts; empty when the forge requires none.
    pub required_contexts: Vec<String>,
    pub block_on_outdated_branch: bool,
}
