//! The port, call by call. Each call lives with its kind (`issues`, `labels`, `pulls`, `reviews`, `statuses`, `branches`);
//! here are the account, the repository, and what the kinds share.

mod branches;
mod issues;
mod labels;
mod pulls;
mod reviews;
mod statuses;

use super::{
    answer::Answer,
    connections::Connections,
    convert::Lack,
    http::{Api, InvalidConnection, Target},
    paging::{List, Row, plain_rows},
    retry,
    wire::{WireCollaborator, WireRepository, WireUser},
};
use crate::{
    domain::{
        ids::{BranchName, IssueNumber, Login, PullRequestNumber, RepositoryPath, Sha},
        issue::{Comment, DependencyLink, Issue},
        pull_request::{Protection, PullRequest, Review, Status},
    },
    ports::{
        allowance::Allowance,
        forge::{
            Created, Forge, ForgeError, ForgeResult, Listed, MergeRequest, NewPullRequest, NewStatus, RepositoryFacts,
            StateFilter,
        },
    },
};
use async_trait::async_trait;
use reqwest::Method;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{hash::Hash, path::PathBuf, sync::Arc};

/// One repository on a Gitea or Forgejo, seen with one token.
#[derive(Debug)]
pub struct Gitea {
    api: Api,
    repository: RepositoryPath,
}

impl Gitea {
    /// Returns the repository below `base_url` (such as `https://git.example.org`), on connections of its own. Nothing is
    /// sent yet.
    pub fn new(base_url: &str, repository: RepositoryPath, token: SecretString) -> Result<Self, InvalidConnection> {
        Self::with_connections(base_url, repository, token, Connections::default())
    }

    /// Like `new`, on connections that others use too.
    pub fn with_connections(
        base_url: &str,
        repository: RepositoryPath,
        token: SecretString,
        connections: Connections,
    ) -> Result<Self, InvalidConnection> {
        Ok(Self { api: Api::new(base_url, token, connections)?, repository })
    }

    /// Bounds what is asked.
    #[must_use]
    pub fn within(mut self, allowance: Arc<Allowance>) -> Self {
        self.api.within(allowance);
        self
    }

    /// Keeps a long pause that the forge asks for in this file, for all processes that are given the same.
    #[must_use]
    pub fn pausing_in(mut self, file: PathBuf) -> Self {
        self.api.pausing_in(file);
        self
    }

    /// Returns a place below the repository's.
    fn below<const N: usize>(&self, segments: [&str; N]) -> Target {
        let target = Target::new(["repos", &self.repository.owner, &self.repository.name]);
        segments.into_iter().fold(target, Target::at)
    }

    async fn read<T: DeserializeOwned>(&self, target: &Target) -> ForgeResult<T> {
        self.read_as(target, |answer| answer.json()).await
    }

    /// Reads something and takes it apart; an answer that makes no sense is asked for again.
    async fn read_as<T>(&self, target: &Target, parse: impl Fn(&Answer) -> ForgeResult<T>) -> ForgeResult<T> {
        retry::read(self.api.timing(), || async { parse(&self.api.send(&Method::GET, target, None).await?) }).await
    }

    async fn write(&self, method: Method, target: &Target, body: Option<&Value>) -> ForgeResult<Answer> {
        self.api.send(&method, target, body).await
    }

    async fn list<T: DeserializeOwned, K: Hash + Eq>(&self, target: Target, key: fn(&T) -> K) -> ForgeResult<Vec<T>> {
        List { api: &self.api, target, rows: plain_rows, key, total_is_trusted: true }.all().await
    }

    /// Reads a list whose entries stand for themselves.
    async fn readable<T: DeserializeOwned>(
        &self,
        target: Target,
        key: fn(&T) -> u64,
        rows: fn(&Answer) -> ForgeResult<Vec<Row<T>>>,
    ) -> ForgeResult<Listed<T>> {
        List { api: &self.api, target, rows, key, total_is_trusted: true }.readable().await
    }

    /// Reads a list that forges give whole, without pages.
    async fn read_whole_list<T: DeserializeOwned>(&self, target: &Target) -> ForgeResult<Vec<T>> {
        self.read_as(target, |answer| {
            let rows: Option<Vec<Option<T>>> = answer.json()?;
            Ok(rows.unwrap_or_default().into_iter().flatten().collect())
        })
        .await
    }

    /// Returns whether the repository itself is in reach: what a 404 below it means depends on that.
    async fn confirm_repository(&self) -> ForgeResult<()> {
        self.read::<WireRepository>(&self.below([])).await.map(drop)
    }

    async fn read_whoami(&self) -> ForgeResult<Login> {
        self.read_as(&Target::new(["user"]), |answer| {
            let user: WireUser = answer.json()?;
            Login::new(user.login).map_err(|error| answer.garbled(error.to_string()))
        })
        .await
    }

    async fn read_repository(&self) -> ForgeResult<RepositoryFacts> {
        self.read_as(&self.below([]), |answer| {
            let wire: WireRepository = answer.json()?;
            if wire.default_branch.is_empty() {
                return Err(answer.garbled("the repository has no default branch"));
            }
            Ok(RepositoryFacts {
                default_branch: wire.default_branch,
                archived: wire.archived,
                empty: wire.empty,
                can_push: wire.permissions.push || wire.permissions.admin,
            })
        })
        .await
    }

    async fn read_can_write(&self, account: &Login) -> ForgeResult<bool> {
        let target = self.below(["collaborators", account.as_str(), "permission"]);
        match self.read::<WireCollaborator>(&target).await {
            Ok(wire) => Ok(["write", "admin", "owner"].iter().any(|word| wire.permission.eq_ignore_ascii_case(word))),
            // No such account.
            Err(ForgeError::NotFound { .. }) => self.confirm_repository().await.map(|()| false),
            // Forges tell the permission of others to administrators only. Assignees are those who may write.
            Err(forbidden @ ForgeError::Forbidden { .. }) => {
                let Ok(assignees) = self.read_whole_list::<WireUser>(&self.below(["assignees"])).await else {
                    return Err(forbidden);
                };
                Ok(assignees.iter().any(|user| user.login.eq_ignore_ascii_case(account.as_str())))
            }
            Err(error) => Err(error),
        }
    }
}

fn state_word(filter: StateFilter) -> &'static str {
    match filter {
        StateFilter::Open => "open",
        StateFilter::Closed => "closed",
        StateFilter::All => "all",
    }
}

/// Converts every entry of a list; one that lacks what it needs makes the whole list unusable.
fn converted<W, T>(wires: Vec<W>, target: &Target, convert: fn(W) -> Result<T, Lack>) -> ForgeResult<Vec<T>> {
    wires
        .into_iter()
        .map(convert)
        .collect::<Result<_, _>>()
        .map_err(|lack| ForgeError::Garbled { request: target.label(&Method::GET), message: lack.to_owned() })
}

/// Converts the one thing that an answer holds.
fn single<W: DeserializeOwned, T>(answer: &Answer, convert: fn(W) -> Result<T, Lack>) -> ForgeResult<T> {
    convert(answer.json()?).map_err(|lack| answer.garbled(lack))
}

#[async_trait]
impl Forge for Gitea {
    async fn whoami(&self) -> ForgeResult<Login> {
        self.read_whoami().await
    }

    async fn repository(&self) -> ForgeResult<RepositoryFacts> {
        self.read_repository().await
    }

    async fn issues(&self, state: StateFilter, label: Option<&str>) -> ForgeResult<Listed<Issue>> {
        self.list_issues(state, label).await
    }

    async fn issue(&self, number: IssueNumber) -> ForgeResult<Issue> {
        self.read_issue(number).await
    }

    async fn comments(&self, number: u64) -> ForgeResult<Vec<Comment>> {
        self.list_comments(number).await
    }

    async fn dependency_links(&self, number: IssueNumber) -> ForgeResult<Vec<DependencyLink>> {
        self.list_dependencies(number).await
    }

    async fn post_comment(&self, number: u64, body: &str) -> ForgeResult<Comment> {
        self.write_comment(number, body).await
    }

    async fn delete_comment(&self, id: u64) -> ForgeResult<()> {
        self.remove_comment(id).await
    }

    async fn change_labels(&self, number: IssueNumber, add: &[&str], remove: &[&str]) -> ForgeResult<Vec<String>> {
        self.exchange_labels(number, add, remove).await
    }

    async fn set_assignees(&self, number: IssueNumber, assignees: &[Login]) -> ForgeResult<()> {
        self.write_assignees(number, assignees).await
    }

    async fn close_issue(&self, number: IssueNumber) -> ForgeResult<()> {
        self.write_closed(number).await
    }

    async fn pull_requests(&self, state: StateFilter) -> ForgeResult<Listed<PullRequest>> {
        self.list_pull_requests(state).await
    }

    async fn pull_request(&self, number: PullRequestNumber) -> ForgeResult<PullRequest> {
        self.read_pull_request(number).await
    }

    async fn changed_files(&self, number: PullRequestNumber) -> ForgeResult<Vec<String>> {
        self.list_files(number).await
    }

    async fn diff(&self, number: PullRequestNumber, limit: usize) -> ForgeResult<String> {
        self.read_diff(number, limit).await
    }

    async fn create_pull_request(&self, new: &NewPullRequest) -> ForgeResult<Created> {
        self.write_pull_request(new).await
    }

    async fn set_pull_request_body(&self, number: PullRequestNumber, body: &str) -> ForgeResult<()> {
        self.write_body(number, body).await
    }

    async fn reviews(&self, number: PullRequestNumber) -> ForgeResult<Vec<Review>> {
        self.list_reviews(number).await
    }

    async fn merge(&self, number: PullRequestNumber, request: &MergeRequest) -> ForgeResult<()> {
        self.write_merge(number, request).await
    }

    async fn statuses(&self, commit: &Sha) -> ForgeResult<Vec<Status>> {
        self.list_statuses(commit).await
    }

    async fn post_status(&self, commit: &Sha, status: &NewStatus) -> ForgeResult<()> {
        self.write_status(commit, status).await
    }

    async fn branch_tip(&self, branch: &str) -> ForgeResult<Option<Sha>> {
        self.read_branch(branch).await
    }

    async fn delete_branch(&self, branch: &BranchName) -> ForgeResult<bool> {
        self.remove_branch(branch).await
    }

    async fn protection(&self, branch: &str) -> ForgeResult<Option<Protection>> {
        self.read_protection(branch).await
    }

    async fn can_write(&self, account: &Login) -> ForgeResult<bool> {
        self.read_can_write(account).await
    }
}
