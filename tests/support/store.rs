//! Records for tests and benches of the store.

use jiff::Timestamp;
use rig::{
    domain::{
        ids::{Attempt, EffectId, IssueNumber, ProjectName, RunId, Seq},
        repository::RepositoryKey,
    },
    ports::store::{Append, DecisionRow, NewEvent, Notice, RunRow, Store, StoreResult},
};

/// Returns the run id with this number in it.
pub(crate) fn run_id(number: u32) -> RunId {
    RunId::new(format!("01ARZ3NDEKTSV4RRFF{number:08}")).unwrap()
}

pub(crate) fn project(name: &str) -> ProjectName {
    ProjectName::new(name).unwrap()
}

/// Returns a time this many seconds after a fixed one.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

pub(crate) fn event(number: u64) -> NewEvent {
    NewEvent {
        at: at(i64::try_from(number).unwrap()),
        kind: "PhaseReported".to_owned(),
        version: 1,
        body: serde_json::json!({ "number": number, "text": "what the agent said of it, in a sentence of usual length" }),
    }
}

/// Returns an open run of `widget` with a slot.
pub(crate) fn row(run: u32, issue: u64) -> RunRow {
    RunRow {
        run: run_id(run),
        project: project("widget"),
        repository: RepositoryKey::stored("https://git.example.org/acme/widget"),
        issue: IssueNumber(issue),
        title: "the title".to_owned(),
        seq: Seq(0),
        stage: "working".to_owned(),
        waits_for: "the agent".to_owned(),
        attempt: Attempt(1),
        pull_request: None,
        head: None,
        claimed_at: at(i64::from(run)),
        changed_at: at(i64::from(run)),
        open: true,
        holds_slot: true,
        usage_limit: None,
    }
}

pub(crate) fn notice(run: u32, seq: u64, text: &str) -> Notice {
    Notice {
        id: EffectId { run: run_id(run), seq: Seq(seq), index: 0 },
        project: project("widget"),
        issue: IssueNumber(1),
        text: text.to_owned(),
        urgent: true,
        on_issue: false,
        at: at(0),
    }
}

pub(crate) fn decision(subject: u64, code: &str, seconds: i64) -> DecisionRow {
    DecisionRow {
        project: project("widget"),
        subject_kind: "issue".to_owned(),
        subject,
        code: code.to_owned(),
        words: format!("because of {code}"),
        at: at(seconds),
    }
}

/// Returns an append of these events with nothing beside them.
pub(crate) fn plain<'a>(row: &'a RunRow, expected: u64, events: &'a [NewEvent]) -> Append<'a> {
    Append {
        run: &row.run,
        expected: Seq(expected),
        events,
        row,
        notices: &[],
        outgoing: &[],
        settled_since: None,
        taken_inputs: &[],
        slot_limit: None,
    }
}

/// Appends one event with the number that follows `expected`.
pub(crate) async fn append_one(store: &dyn Store, row: &RunRow, expected: u64) -> StoreResult<Seq> {
    store.append(plain(row, expected, &[event(expected + 1)])).await
}
