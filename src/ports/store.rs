//! The store port: one append-only journal, its projection of runs, and the tables beside it (inputs, notices, decisions,
//! mirrors, drivers). An append with the expected sequence number is the claim to a run.

use crate::domain::ids::{Attempt, EffectId, IssueNumber, ProjectName, PullRequestNumber, RunId, Seq, Sha};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else appended first: read the stream again.
    #[error("the journal of run {run} is at {actual}, not at {expected}")]
    Conflict { run: RunId, expected: Seq, actual: Seq },
    /// The project has another open run for the issue.
    #[error("issue {issue} of {project} has an open run already: {run}")]
    AlreadyOpen { project: ProjectName, issue: IssueNumber, run: RunId },
    /// The project has as many open runs as it may have.
    #[error("{project} has {open} open runs, its limit is {limit}")]
    NoSlot { project: ProjectName, open: u32, limit: u32 },
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

/// What an append writes, all of it or nothing.
#[derive(Debug, Clone)]
pub struct Append<'a> {
    pub run: &'a RunId,
    /// Sequence number of the last event that the writer knows; 0 for a new stream.
    pub expected: Seq,
    pub events: &'a [NewEvent],
    pub row: &'a RunRow,
    pub notices: &'a [Notice],
    /// Inputs that became these events; taken in the same transaction.
    pub taken_inputs: &'a [i64],
    /// For the first append of a run: the most open runs with a slot that the project may have, this one included.
    pub slot_limit: Option<u32>,
}

#[async_trait]
pub trait Store: Send + Sync {
    /// Appends events and everything that hangs on them in one durable transaction. Returns the new last sequence number.
    async fn append(&self, append: Append<'_>) -> StoreResult<Seq>;
    /// Returns the events of a run in order, after `after`.
    async fn events(&self, run: &RunId, after: Seq) -> StoreResult<Vec<RecordedEvent>>;
    /// Returns up to `limit` events of the whole journal after a position, in order.
    async fn journal(&self, after: i64, limit: u32) -> StoreResult<Vec<RecordedEvent>>;
    async fn open_runs(&self, project: Option<&ProjectName>) -> StoreResult<Vec<RunRow>>;
    /// Returns the newest runs, open and ended, at most `limit`.
    async fn recent_runs(&self, project: Option<&ProjectName>, limit: u32) -> StoreResult<Vec<RunRow>>;
    /// Returns the newest run of an issue.
    async fn latest_run(&self, project: &ProjectName, issue: IssueNumber) -> StoreResult<Option<RunRow>>;

    /// Queues an input. `key` makes a repeat harmless: the same key for the same run is stored once. Returns its id.
    async fn put_input(&self, run: &RunId, key: &str, kind: &str, body: &serde_json::Value) -> StoreResult<i64>;
    async fn waiting_inputs(&self, run: &RunId) -> StoreResult<Vec<Input>>;

    async fn unsent_notices(&self, limit: u32) -> StoreResult<Vec<Notice>>;
    async fn mark_notice_sent(&self, id: &EffectId) -> StoreResult<()>;

    /// Records decisions; one that repeats the last decision of its subject is dropped, those older than 30 days go.
    async fn record_decisions(&self, decisions: &[DecisionRow]) -> StoreResult<()>;
    async fn decisions(&self, project: &ProjectName, subject: Option<u64>, limit: u32)
    -> StoreResult<Vec<DecisionRow>>;

    async fn mirrors(&self, project: &ProjectName) -> StoreResult<Vec<MirrorRow>>;
    async fn set_mirror(&self, row: &MirrorRow) -> StoreResult<()>;

    /// Writes the sign of life of a run's driver.
    async fn beat(&self, row: &DriverRow) -> StoreResult<()>;
    async fn drivers(&self) -> StoreResult<Vec<DriverRow>>;
    async fn remove_driver(&self, run: &RunId) -> StoreResult<()>;
}
