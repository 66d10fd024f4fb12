//! The facts that selection decides from, as fetched; what could not be fetched is unknown, never left out.

use super::LabelNames;
use crate::domain::{
    ids::{IssueNumber, PullRequestNumber},
    issue::{DependencyLink, Issue},
    known::Known,
};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Who holds an issue, by its claim comments, its assignees and the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    Nobody,
    ThisRoot,
    /// Another owner, named for people.
    Other(String),
}

/// An issue with one of the labels that rig uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub number: IssueNumber,
    /// Unknown when the item could not be read; the others are decided all the same.
    pub issue: Known<Issue>,
    /// Forges list pull requests among issues.
    pub is_pull_request: bool,
    pub claim: Known<Claim>,
    /// The journal has an open run for it.
    pub open_run: Known<bool>,
}

/// What is known of an issue that another waits for and that is no candidate itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssueFact {
    /// Open, with its own written dependencies (needed to see a cycle).
    Open {
        depends_on: Vec<IssueNumber>,
    },
    Closed,
    /// The forge has no issue of this number.
    Missing,
}

/// Everything that a selection depends on.
#[derive(Debug, Clone)]
pub struct QueueSnapshot {
    /// `owner/name` of the project's repository, as the forge's dependency links name it.
    pub repository: String,
    pub labels: LabelNames,
    /// The dev loop and the project are both switched on.
    pub switched_on: Known<bool>,
    /// The agent's account has used up what it may use, until then.
    pub usage_limit: Option<Timestamp>,
    pub free_memory_mb: Known<u64>,
    pub min_free_memory_mb: u64,
    pub max_agents: u32,
    /// Open runs that hold a slot; an escalated one does not.
    pub slots_taken: Known<u32>,
    /// Pull requests of rig's own that wait for CI or review and that rig can still act on.
    pub waiting_pull_requests: Known<Vec<PullRequestNumber>>,
    /// In any order. Empty when the list could not be read to its end.
    pub candidates: Vec<Candidate>,
    /// Dependencies that are no candidates, as far as they were asked for (see `Asks`).
    pub issues: BTreeMap<IssueNumber, Known<IssueFact>>,
    /// The forge's own dependency links of candidates, as far as they were asked for.
    pub links: BTreeMap<IssueNumber, Known<Vec<DependencyLink>>>,
}
