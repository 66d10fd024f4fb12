//! The forge port: issues, pull requests, reviews, statuses and merging of one repository, as one account.
//! Every list is complete (all pages) or an error: a caller never sees a part of a list as the whole. Of issues and pull
//! requests, which stand for themselves, single ones may be unreadable; of what belongs to one of them (comments, reviews)
//! an unreadable entry makes the whole list an error, because it may be the one that decides.

use super::allowance::Limit;
use crate::domain::{
    ids::{BranchName, IssueNumber, Login, PullRequestNumber, Sha},
    issue::{Comment, DependencyLink, Issue},
    pull_request::{Protection, PullRequest, Review, Status, StatusState},
};
use async_trait::async_trait;
use std::time::Duration;

/// Why a request to the forge did not give what was asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ForgeError {
    /// 401: the token is unknown or expired.
    #[error("the forge does not accept the token ({request})")]
    Unauthorized { request: String },
    /// 403: a missing token scope or permission, or a refusal by rule; `message` is the forge's.
    #[error("the forge forbids {request}: {message}")]
    Forbidden { request: String, message: String },
    #[error("the forge knows nothing at {request}")]
    NotFound { request: String },
    /// 409, 412, 423 and 405: the state of things does not allow it.
    #[error("the forge refuses {request} ({status}): {message}")]
    Refused { request: String, status: u16, message: String },
    /// 400, 413 and 422: the request itself is wrong.
    #[error("the forge finds {request} invalid ({status}): {message}")]
    Invalid { request: String, status: u16, message: String },
    #[error("the forge limits the rate of requests ({request})")]
    RateLimited { request: String, retry_after: Option<Duration> },
    /// Not sent: this process may ask no more for now.
    #[error("{request} was not asked: {limit}")]
    NotAsked { request: String, limit: Limit },
    /// 5xx, refused or broken connections, time-outs. For a write the effect is unknown.
    #[error("the forge did not answer {request}: {message}")]
    Unavailable { request: String, message: String },
    /// The answer is not what the API promises: cut short, not JSON, wrong shape. For a write the effect is unknown.
    #[error("the forge's answer to {request} makes no sense: {message}")]
    Garbled { request: String, message: String },
}

impl ForgeError {
    /// Returns whether the same request may succeed later without anyone's doing.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. } | Self::NotAsked { .. } | Self::Unavailable { .. } | Self::Garbled { .. }
        )
    }

    /// Returns whether a write may have taken effect all the same.
    pub fn effect_is_unknown(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Garbled { .. })
    }
}

pub type ForgeResult<T> = Result<T, ForgeError>;

/// A complete list, of which single entries may not make sense. What hangs on those is unknown; the others are whole.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    pub items: Vec<T>,
    pub unreadable: Vec<Unreadable>,
}

/// An entry of a list that does not make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its number, as far as that can be read.
    pub number: Option<u64>,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFilter {
    Open,
    Closed,
    All,
}

#[derive(Debug, Clone)]
pub struct RepositoryFacts {
    pub default_branch: String,
    pub archived: bool,
    /// It has no branch yet.
    pub empty: bool,
    /// The account may push.
    pub can_push: bool,
}

#[derive(Debug, Clone)]
pub struct NewPullRequest {
    pub head: BranchName,
    pub base: String,
    pub title: String,
    pub body: String,
}

/// What came of asking for a new pull request.
#[derive(Debug, Clone)]
pub enum Created {
    New(Box<PullRequest>),
    /// 409: an open one with the same head and base exists; the caller looks it up.
    AlreadyThere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeStyle {
    Merge,
    Rebase,
    RebaseMerge,
    Squash,
    FastForwardOnly,
}

#[derive(Debug, Clone)]
pub struct MergeRequest {
    /// The commit that was judged; the forge refuses when the head is another.
    pub head: Sha,
    pub style: MergeStyle,
    pub title: String,
    pub message: String,
}

#[derive(Debug, Clone)]
pub struct NewStatus {
    pub state: StatusState,
    pub context: String,
    pub description: String,
    /// Empty for none.
    pub target_url: String,
}

/// One repository on a forge, seen with one account's token. Reads may be repeated by the adapter; writes never are.
#[async_trait]
pub trait Forge: Send + Sync {
    /// Returns the account that the token belongs to.
    async fn whoami(&self) -> ForgeResult<Login>;
    async fn repository(&self) -> ForgeResult<RepositoryFacts>;

    /// Returns the issues (no pull requests) that carry `label`, or all of them; unsorted. The label is checked again on
    /// this side, because forges drop labels that they do not know from the query.
    async fn issues(&self, state: StateFilter, label: Option<&str>) -> ForgeResult<Listed<Issue>>;
    async fn issue(&self, number: IssueNumber) -> ForgeResult<Issue>;
    /// Returns the comments of an issue or pull request, oldest first.
    async fn comments(&self, number: u64) -> ForgeResult<Vec<Comment>>;
    /// Returns what the issue waits for by the forge's own links; empty where the forge has the feature switched off.
    async fn dependency_links(&self, number: IssueNumber) -> ForgeResult<Vec<DependencyLink>>;
    async fn post_comment(&self, number: u64, body: &str) -> ForgeResult<Comment>;
    async fn delete_comment(&self, id: u64) -> ForgeResult<()>;
    /// Adds and removes labels by name, creating those that are missing in the repository, removing by id, and reads back.
    /// Returns the labels that the issue has afterwards.
    async fn change_labels(&self, number: IssueNumber, add: &[&str], remove: &[&str]) -> ForgeResult<Vec<String>>;
    /// Sets the assignees to exactly these accounts.
    async fn set_assignees(&self, number: IssueNumber, assignees: &[Login]) -> ForgeResult<()>;
    async fn close_issue(&self, number: IssueNumber) -> ForgeResult<()>;

    async fn pull_requests(&self, state: StateFilter) -> ForgeResult<Listed<PullRequest>>;
    async fn pull_request(&self, number: PullRequestNumber) -> ForgeResult<PullRequest>;
    /// Returns the paths of all changed files, old names of renamed ones included.
    async fn changed_files(&self, number: PullRequestNumber) -> ForgeResult<Vec<String>>;
    /// Returns the diff as text, cut after `limit` bytes.
    async fn diff(&self, number: PullRequestNumber, limit: usize) -> ForgeResult<String>;
    async fn create_pull_request(&self, new: &NewPullRequest) -> ForgeResult<Created>;
    /// Gives a pull request another text.
    async fn set_pull_request_body(&self, number: PullRequestNumber, body: &str) -> ForgeResult<()>;
    /// Returns all reviews, oldest first, with their inline comments.
    async fn reviews(&self, number: PullRequestNumber) -> ForgeResult<Vec<Review>>;
    /// Merges. Any answer but success is an error; the caller then reads the pull request again before it decides.
    async fn merge(&self, number: PullRequestNumber, request: &MergeRequest) -> ForgeResult<()>;

    /// Returns the latest status of each context at a commit.
    async fn statuses(&self, commit: &Sha) -> ForgeResult<Vec<Status>>;
    async fn post_status(&self, commit: &Sha, status: &NewStatus) -> ForgeResult<()>;

    /// Returns the commit at the tip of a branch; `None` when there is no such branch.
    async fn branch_tip(&self, branch: &str) -> ForgeResult<Option<Sha>>;
    /// Returns whether there was such a branch.
    async fn delete_branch(&self, branch: &BranchName) -> ForgeResult<bool>;
    /// Returns the rule that protects a branch; `None` when nothing does or the account may not see it.
    async fn protection(&self, branch: &str) -> ForgeResult<Option<Protection>>;
    /// Returns whether an account may write to the repository (write, admin or owner).
    async fn can_write(&self, account: &Login) -> ForgeResult<bool>;
}
