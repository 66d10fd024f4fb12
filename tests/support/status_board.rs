//! A forge of which only statuses, protection and branches are of interest. It holds them, and can refuse to take any.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use async_trait::async_trait;
use rig::{
    domain::{
        ids::{BranchName, IssueNumber, Login, PullRequestNumber, Sha},
        issue::{Comment, DependencyLink, Issue},
        pull_request::{Protection, PullRequest, Review, Status, StatusState},
    },
    ports::forge::{
        Created, Forge, ForgeError, ForgeResult, Listed, MergeRequest, NewPullRequest, NewStatus, RepositoryFacts,
        StateFilter,
    },
};
use std::sync::Mutex;

#[derive(Default)]
pub(crate) struct StatusBoard {
    pub(crate) posted: Mutex<Vec<(Sha, Status)>>,
    pub(crate) protection: Mutex<Option<Protection>>,
    pub(crate) primary_tip: Mutex<Option<Sha>>,
    pub(crate) down: bool,
}

impl StatusBoard {
    /// Returns the states that were posted for a commit, in order.
    pub(crate) fn states(&self, commit: &Sha) -> Vec<StatusState> {
        self.posted.lock().unwrap().iter().filter(|(sha, _)| sha == commit).map(|(_, status)| status.state).collect()
    }

    pub(crate) fn put(&self, commit: &Sha, context: &str, state: StatusState) {
        let status = Status {
            context: context.into(),
            state,
            description: String::new(),
            target_url: String::new(),
            changed_at: None,
        };
        self.posted.lock().unwrap().push((commit.clone(), status));
    }

    fn up(&self, request: &str) -> ForgeResult<()> {
        let error = ForgeError::Unavailable { request: request.into(), message: "it is down".into() };
        if self.down { Err(error) } else { Ok(()) }
    }
}

fn absent<T>(request: &str) -> ForgeResult<T> {
    Err(ForgeError::NotFound { request: request.into() })
}

#[async_trait]
impl Forge for StatusBoard {
    async fn statuses(&self, commit: &Sha) -> ForgeResult<Vec<Status>> {
        self.up("statuses")?;
        let mut latest: Vec<Status> = Vec::new();
        for (sha, status) in self.posted.lock().unwrap().iter() {
            if sha == commit {
                latest.retain(|other| other.context != status.context);
                latest.push(status.clone());
            }
        }
        Ok(latest)
    }
    async fn post_status(&self, commit: &Sha, status: &NewStatus) -> ForgeResult<()> {
        self.up("post_status")?;
        let NewStatus { state, context, description, target_url } = status.clone();
        self.posted
            .lock()
            .unwrap()
            .push((commit.clone(), Status { context, state, description, target_url, changed_at: None }));
        Ok(())
    }
    async fn branch_tip(&self, _branch: &str) -> ForgeResult<Option<Sha>> {
        self.up("branch_tip")?;
        Ok(self.primary_tip.lock().unwrap().clone())
    }
    async fn protection(&self, _branch: &str) -> ForgeResult<Option<Protection>> {
        self.up("protection")?;
        Ok(self.protection.lock().unwrap().clone())
    }

    async fn whoami(&self) -> ForgeResult<Login> {
        absent("whoami")
    }
    async fn repository(&self) -> ForgeResult<RepositoryFacts> {
        absent("repository")
    }
    async fn issues(&self, _state: StateFilter, _label: Option<&str>) -> ForgeResult<Listed<Issue>> {
        absent("issues")
    }
    async fn issue(&self, _number: IssueNumber) -> ForgeResult<Issue> {
        absent("issue")
    }
    async fn comments(&self, _number: u64) -> ForgeResult<Vec<Comment>> {
        absent("comments")
    }
    async fn dependency_links(&self, _number: IssueNumber) -> ForgeResult<Vec<DependencyLink>> {
        absent("dependency_links")
    }
    async fn post_comment(&self, _number: u64, _body: &str) -> ForgeResult<Comment> {
        absent("post_comment")
    }
    async fn delete_comment(&self, _id: u64) -> ForgeResult<()> {
        absent("delete_comment")
    }
    async fn change_labels(&self, _number: IssueNumber, _add: &[&str], _remove: &[&str]) -> ForgeResult<Vec<String>> {
        absent("change_labels")
    }
    async fn set_assignees(&self, _number: IssueNumber, _assignees: &[Login]) -> ForgeResult<()> {
        absent("set_assignees")
    }
    async fn close_issue(&self, _number: IssueNumber) -> ForgeResult<()> {
        absent("close_issue")
    }
    async fn pull_requests(&self, _state: StateFilter) -> ForgeResult<Listed<PullRequest>> {
        absent("pull_requests")
    }
    async fn pull_request(&self, _number: PullRequestNumber) -> ForgeResult<PullRequest> {
        absent("pull_request")
    }
    async fn changed_files(&self, _number: PullRequestNumber) -> ForgeResult<Vec<String>> {
        absent("changed_files")
    }
    async fn diff(&self, _number: PullRequestNumber, _limit: usize) -> ForgeResult<String> {
        absent("diff")
    }
    async fn create_pull_request(&self, _new: &NewPullRequest) -> ForgeResult<Created> {
        absent("create_pull_request")
    }
    async fn set_pull_request_body(&self, _number: PullRequestNumber, _body: &str) -> ForgeResult<()> {
        absent("set_pull_request_body")
    }
    async fn reviews(&self, _number: PullRequestNumber) -> ForgeResult<Vec<Review>> {
        absent("reviews")
    }
    async fn merge(&self, _number: PullRequestNumber, _request: &MergeRequest) -> ForgeResult<()> {
        absent("merge")
    }
    async fn delete_branch(&self, _branch: &BranchName) -> ForgeResult<bool> {
        absent("delete_branch")
    }
    async fn can_write(&self, _account: &Login) -> ForgeResult<bool> {
        absent("can_write")
    }
}
