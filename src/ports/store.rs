//! The store port: one append-only journal, its projection of runs, and the tables beside it (inputs, notices, decisions,
//! mirrors, checks, drivers). An append with the expected sequence number is the claim to a run.

use super::outbox::{Outbox, Outgoing};
use crate::domain::{
    ci::CiVerdict,
    ids::{Attempt, EffectId, IssueNumber, ProjectName, PullRequestNumber, RunId, Seq, Sha},
    repository::RepositoryKey,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else appended first: read the stream again.
    #[error("the journal of run {run} is at {actual}, not at {expected}")]
    Conflict { run: RunId, expected: Seq, actual: Seq },
    /// The project, or another of the same repository, has an open run for the issue.
    #[error("issue {issue} of {project} has an open run already: {run}")]
    AlreadyOpen { project: ProjectName, issue: IssueNumber, run: RunId },
    /// The repository has as many open runs as the project may have there.
    #[error("the repository of {project} has {open} open runs, the project's limit is {limit}")]
    NoSlot { project: ProjectName, open: u32, limit: u32 },
    /// The run takes no inputs any more.
    #[error("run {run} has ended")]
    RunEnded { run: RunId },
    /// The store was written by a newer rig: finish and let the new binary adopt the run.
    #[error("the store has schema {found}, this rig knows {known}")]
    NewerSchema { found: i64, known: i64 },
    #[error("the store cannot be written: {message}")]
    NotWritable { message: String },
    #[error("the store failed: {message}")]
    Failed { message: String },
    /// A stored record does not read as what it should be.
    #[error("record {position} of the store is damaged: {message}")]
    Damaged { position: i64, message: String },
}

pub type StoreResult<T> = Result<T, StoreError>;

/// An event before it has a place in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    pub at: Timestamp,
    /// Name of the kind, such as `IssueClaimed`.
    pub kind: String,
    /// Version of the body's format, from 1.
    pub version: u32,
    pub body: serde_json::Value,
}

/// An event of the journal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordedEvent {
    /// The only cursor for readers of the whole journal; grows, may have gaps.
    pub position: i64,
    pub run: RunId,
    pub seq: Seq,
    pub at: Timestamp,
    pub host: String,
    pub kind: String,
    pub version: u32,
    pub body: serde_json::Value,
}

/// What tables and tools show of a run; written with its events in one transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    pub run: RunId,
    pub project: ProjectName,
    /// Of all open runs of a repository, whichever project leads them, an issue has at most one.
    #[serde(default)]
    pub repository: RepositoryKey,
    pub issue: IssueNumber,
    pub title: String,
    pub seq: Seq,
    /// Name of the stage, such as `awaiting_ci`.
    pub stage: String,
    /// What the run waits for, in words for people.
    pub waits_for: String,
    pub attempt: Attempt,
    pub pull_request: Option<PullRequestNumber>,
    pub head: Option<Sha>,
    pub claimed_at: Timestamp,
    pub changed_at: Timestamp,
    pub open: bool,
    /// Counts towards `max_agents`.
    pub holds_slot: bool,
    /// The agent's account has used up what it may use, until then.
    pub usage_limit: Option<Timestamp>,
}

/// An order or a reply from outside the driver, waiting to be taken by it.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    pub id: i64,
    pub kind: String,
    pub body: serde_json::Value,
    pub at: Timestamp,
}

/// Something to be told to people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The effect that ordered it; a repeat with the same id is dropped.
    pub id: EffectId,
    pub project: ProjectName,
    pub issue: IssueNumber,
    pub text: String,
    /// Somebody must act.
    pub urgent: bool,
    /// It is to be written on the issue too.
    pub on_issue: bool,
    pub at: Timestamp,
}

/// The process that leads a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverRow {
    pub run: RunId,
    pub pid: u32,
    /// Start time of the process in clock ticks since boot (field 22 of /proc/PID/stat), against reused process ids.
    pub process_start: u64,
    pub boot_id: String,
    pub beat_at: Timestamp,
}

/// A decision of a tick about one candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRow {
    pub project: ProjectName,
    /// `issue` or `pull_request`.
    pub subject_kind: String,
    pub subject: u64,
    /// Stable reason code.
    pub code: String,
    /// The same in words, with what it depended on.
    pub words: String,
    pub at: Timestamp,
}

/// How far one mirror is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorRow {
    pub project: ProjectName,
    pub mirror: String,
    /// Last commit of the primary branch that the mirror is known to have.
    pub sha: Option<Sha>,
    /// Why the last push failed; empty when it did not.
    pub error: String,
    /// People were told of the failure.
    pub told: bool,
    pub at: Timestamp,
}

/// What was told so long ago that it may be forgotten.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToldLongAgo {
    /// Ended runs whose notices may go.
    pub runs: Vec<RunRow>,
    /// Messages of channels may go too.
    pub messages: bool,
}

impl ToldLongAgo {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && !self.messages
    }
}

/// What the CI of this machine found of a commit that no run leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRow {
    pub repository: RepositoryKey,
    pub head: Sha,
    /// Tells the command that was run from every other.
    pub command: String,
    pub project: ProjectName,
    pub pull_request: PullRequestNumber,
    pub verdict: CiVerdict,
    /// How often in a row the machinery broke; 0 when it did not.
    pub breaks: u32,
    pub at: Timestamp,
}

/// What an append writes, all of it or nothing.
#[derive(Debug, Clone)]
pub struct Append<'a> {
    pub run: &'a RunId,
    /// Sequence number of the last event that the writer knows; 0 for a new stream.
    pub expected: Seq,
    pub events: &'a [NewEvent],
    pub row: &'a RunRow,
    pub notices: &'a [Notice],
    /// Messages for the channels of the project.
    pub outgoing: &'a [Outgoing],
    /// What the run has asked people for since then need not be asked any more, as far as it is not sent.
    pub settled_since: Option<Timestamp>,
    /// Inputs that became these events; taken in the same transaction.
    pub taken_inputs: &'a [i64],
    /// For the first append of a run: the most open runs with a slot that the repository may have, this one included.
    pub slot_limit: Option<u32>,
}

#[async_trait]
pub trait Store: Outbox + Send + Sync {
    /// Appends events and everything that hangs on them in one durable transaction. Returns the new last sequence number.
    async fn append(&self, append: Append<'_>) -> StoreResult<Seq>;
    /// Returns the events of a run in order, after `after`.
    async fn events(&self, run: &RunId, after: Seq) -> StoreResult<Vec<RecordedEvent>>;
    /// Returns up to `limit` events of the whole journal after a position, in order.
    async fn journal(&self, after: i64, limit: u32) -> StoreResult<Vec<RecordedEvent>>;
    async fn open_runs(&self, project: Option<&ProjectName>) -> StoreResult<Vec<RunRow>>;
    /// Returns the open runs of a project and those of its repository that other projects lead: all that it must not begin
    /// again, and that take its slots.
    async fn open_runs_of(&self, project: &ProjectName, repository: &RepositoryKey) -> StoreResult<Vec<RunRow>>;
    /// Writes down the repository of a project's open runs that have none: those of before it was stored.
    async fn name_repository(&self, project: &ProjectName, repository: &RepositoryKey) -> StoreResult<()>;
    /// Returns the newest runs, open and ended, at most `limit`.
    async fn recent_runs(&self, project: Option<&ProjectName>, limit: u32) -> StoreResult<Vec<RunRow>>;
    /// Returns when the last usage limit that any run of this root has met is over; `None` when there is none now.
    async fn usage_limit(&self, now: Timestamp) -> StoreResult<Option<Timestamp>>;
    /// Returns the newest run of an issue.
    async fn latest_run(&self, project: &ProjectName, issue: IssueNumber) -> StoreResult<Option<RunRow>>;

    async fn run(&self, run: &RunId) -> StoreResult<Option<RunRow>>;

    /// Returns the events of one kind in the order of the journal, of all runs; those since a time when one is given.
    async fn events_of_kind(&self, kind: &str, since: Option<Timestamp>) -> StoreResult<Vec<RecordedEvent>>;

    /// Queues an input. `key` makes a repeat harmless: the same key for the same run is stored once. Returns its id. Fails
    /// with `RunEnded` when nobody will take it any more.
    async fn put_input(&self, run: &RunId, key: &str, kind: &str, body: &serde_json::Value) -> StoreResult<i64>;
    async fn waiting_inputs(&self, run: &RunId) -> StoreResult<Vec<Input>>;
    /// Takes inputs of which nothing came: they do not wait any more. Safe to repeat. All inputs of a run go with its end.
    async fn drop_inputs(&self, run: &RunId, ids: &[i64]) -> StoreResult<()>;

    /// Queues a notice that no event of a run orders. Safe to repeat: one whose id is known is dropped.
    async fn put_notice(&self, notice: &Notice) -> StoreResult<()>;
    /// Returns notices that nobody has sent, the oldest first; those of one project when it is named.
    async fn unsent_notices(&self, project: Option<&ProjectName>, limit: u32) -> StoreResult<Vec<Notice>>;
    async fn mark_notice_sent(&self, id: &EffectId) -> StoreResult<()>;
    /// Returns what was told before a time and may be forgotten, of runs that had ended by then: the oldest first, a bounded number.
    async fn told_long_ago(&self, before: Timestamp) -> StoreResult<ToldLongAgo>;
    /// Forgets the notices of these runs and the messages of all ended runs that were sent before a time.
    async fn forget_told(&self, runs: &[RunId], before: Timestamp) -> StoreResult<()>;

    /// Records decisions; one that repeats the last decision of its subject is dropped, those older than 30 days go.
    async fn record_decisions(&self, decisions: &[DecisionRow]) -> StoreResult<()>;
    async fn decisions(&self, project: &ProjectName, subject: Option<u64>, limit: u32)
    -> StoreResult<Vec<DecisionRow>>;

    /// Returns the last decision of each subject of a project for which that has this code, the oldest first.
    async fn standing_decisions(&self, project: &ProjectName, code: &str) -> StoreResult<Vec<DecisionRow>>;

    async fn mirrors(&self, project: &ProjectName) -> StoreResult<Vec<MirrorRow>>;
    async fn set_mirror(&self, row: &MirrorRow) -> StoreResult<()>;

    /// Returns what is known of a commit by a command.
    async fn check(&self, repository: &RepositoryKey, head: &Sha, command: &str) -> StoreResult<Option<CheckRow>>;
    /// Returns what is known of a pull request's commits, the newest first.
    async fn checks_of(
        &self,
        project: &ProjectName,
        number: PullRequestNumber,
        limit: u32,
    ) -> StoreResult<Vec<CheckRow>>;
    /// Writes what was found in the place of what was known; very old ones go.
    async fn record_check(&self, row: &CheckRow) -> StoreResult<()>;

    /// Writes the sign of life of a run's driver.
    async fn beat(&self, row: &DriverRow) -> StoreResult<()>;
    async fn drivers(&self) -> StoreResult<Vec<DriverRow>>;
    async fn remove_driver(&self, run: &RunId) -> StoreResult<()>;
}
