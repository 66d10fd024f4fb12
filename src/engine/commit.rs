//! The only place that changes a run: step, append, swap. What the step ordered may be done only after the append.

use super::{World, outgoing};
use crate::{
    domain::{
        chat::Channel,
        ids::{EffectId, RunId, Seq},
        repository::RepositoryKey,
        run::{self, Effect, Event, Fact, Ignored, Run, Step, event::EVENT_VERSION},
    },
    ports::store::{Append, NewEvent, Notice, RunRow, StoreError, StoreResult},
};
use jiff::Timestamp;

/// What came of a commit.
#[derive(Debug)]
pub enum Committed {
    Moved,
    Ignored(Ignored),
}

/// Appends the first event of a new run. Fails with `AlreadyOpen` or `NoSlot` when the project does not allow it.
pub async fn claim(world: &World, id: &RunId, fact: Fact, slot_limit: Option<u32>) -> StoreResult<Run> {
    let (fact, body) = redacted_fact(world, fact)?;
    let Some((run, orders)) = run::begin(id, &fact) else {
        return Err(StoreError::Failed { message: "a run begins with a claim".into() });
    };
    let notices = notices(&run, &orders, fact.at);
    append(world, &run, Seq(0), &fact, body, Beside { notices, slot_limit, ..Beside::default() }).await?;
    Ok(run)
}

/// Moves the run by one event: step, durable append, swap. A conflict means that somebody else wrote: the caller reads anew.
pub async fn commit(
    world: &World,
    run: &mut Run,
    observed_ms: u64,
    event: Event,
    completes: Option<EffectId>,
    taken_inputs: &[i64],
) -> StoreResult<Committed> {
    let (fact, body) = redacted_fact(world, Fact { at: world.clock.now(), observed_ms, completes, event })?;
    match run::step(run, &fact) {
        Step::Ignored(ignored) => {
            tracing::debug!(run = %run.id, event = fact.event.kind(), ?ignored, "ignored");
            Ok(Committed::Ignored(ignored))
        }
        Step::Moved { run: moved, orders } => {
            let notices = notices(&moved, &orders, fact.at);
            let settled_since = run::settled_since(run, &moved);
            let beside = Beside { notices, taken_inputs, settled_since, ..Beside::default() };
            append(world, &moved, run.seq, &fact, body, beside).await?;
            tracing::info!(run = %moved.id, issue = moved.issue.0, event = fact.event.kind(), stage = moved.stage.name(), "moved");
            *run = *moved;
            Ok(Committed::Moved)
        }
    }
}

/// What is written in one transaction with an event.
#[derive(Default)]
struct Beside<'a> {
    notices: Vec<Notice>,
    taken_inputs: &'a [i64],
    settled_since: Option<Timestamp>,
    slot_limit: Option<u32>,
}

async fn append(
    world: &World,
    run: &Run,
    expected: Seq,
    fact: &Fact,
    body: serde_json::Value,
    beside: Beside<'_>,
) -> StoreResult<()> {
    let event = NewEvent { at: fact.at, kind: fact.event.kind().to_owned(), version: EVENT_VERSION, body };
    let outgoing = outgoing::of(world, run, fact, &beside.notices);
    let (events, row) = ([event], row(run, world.repository()));
    let append = Append {
        run: &run.id,
        expected,
        events: &events,
        row: &row,
        notices: &beside.notices,
        outgoing: &outgoing,
        settled_since: beside.settled_since,
        taken_inputs: beside.taken_inputs,
        slot_limit: beside.slot_limit,
    };
    world.store.append(append).await?;
    // Whoever queues a message makes sure that a bridge runs.
    if outgoing.iter().any(|message| message.channel == Channel::Matrix) {
        world.machine.ensure_bridge();
    }
    Ok(())
}

/// Takes secrets out of a fact before anything is made of it, and returns it with its written form: what the machine
/// saw is exactly what the journal holds.
fn redacted_fact(world: &World, fact: Fact) -> StoreResult<(Fact, serde_json::Value)> {
    let failed =
        |error: serde_json::Error| StoreError::Failed { message: format!("an event cannot be written: {error}") };
    let body = redacted(world, serde_json::to_value(&fact).map_err(failed)?);
    let fact = serde_json::from_value(body.clone()).map_err(failed)?;
    Ok((fact, body))
}

fn redacted(world: &World, value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(world.redactor.redact(&text).into_owned()),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| redacted(world, item)).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(key, field)| (key, redacted(world, field))).collect())
        }
        other => other,
    }
}

fn notices(run: &Run, orders: &[(EffectId, Effect)], at: Timestamp) -> Vec<Notice> {
    orders
        .iter()
        .filter_map(|(id, effect)| match effect {
            Effect::Notify { text, urgent, on_issue } => Some(Notice {
                id: id.clone(),
                project: run.project.clone(),
                issue: run.issue,
                text: text.clone(),
                urgent: *urgent,
                on_issue: *on_issue,
                at,
            }),
            _ => None,
        })
        .collect()
}

/// Returns what tables and tools show of a run.
pub fn row(run: &Run, repository: RepositoryKey) -> RunRow {
    RunRow {
        run: run.id.clone(),
        project: run.project.clone(),
        repository,
        issue: run.issue,
        title: run.title.clone(),
        seq: run.seq,
        stage: run.stage.name().to_owned(),
        waits_for: match run.usage_limit.filter(|_| !run.stage.is_over()) {
            Some(until) => format!("{}; the agent's usage limit, until {until:.0}", run.stage.waits_for()),
            None => run.stage.waits_for(),
        },
        attempt: run.attempt,
        pull_request: run.pull_request,
        head: run.head.clone(),
        claimed_at: run.claimed_at,
        changed_at: run.changed_at,
        open: !run.stage.is_ended(),
        holds_slot: run.holds_slot(),
        usage_limit: run.usage_limit,
    }
}
