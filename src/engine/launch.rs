//! The part of a tick that starts work: choosing, claiming, launching. Also how an issue is claimed by hand.

use super::{
    World, claim, commit,
    merge_scan::Stranded,
    resume, snapshot,
    tick::{Report, TickError},
};
use crate::{
    domain::{
        ids::{EffectId, IssueNumber, Seq},
        issue::{Issue, OpenOrClosed},
        known::Known,
        queue::{QueueSnapshot, Reason},
        run::{Event, Run, Stage},
    },
    ports::{
        forge::ForgeError,
        lock::{LockError, LockName},
        store::StoreError,
    },
};
use jiff::SignedDuration;
use std::time::Duration;

/// Longest wait for another process that chooses in the same repository.
const DISPATCH_WAIT: Duration = Duration::from_secs(5);
/// An issue whose last run could not even claim it is left alone for this long.
const GIVEN_BACK_PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// Chooses, claims and starts, under the dispatch lock, one issue after the other while slots are free: first what lies
/// there with a pull request and without a run, then the queue.
pub(super) async fn launch(
    world: &World,
    queue: &mut QueueSnapshot,
    stranded: &[Stranded],
    report: &mut Report,
) -> Result<(), TickError> {
    for stranded in stranded {
        let way = if stranded.is_ready { Way::Accepted } else { Way::Stranded };
        if way == Way::Stranded && !has_free_slot(queue) {
            report.issue(stranded.issue, "no_free_slot", "its pull request waits for a free agent");
            continue;
        }
        start_or_report(world, queue, stranded.issue, way, report).await?;
    }
    let selection = snapshot::settle(world, queue).await;
    for decision in &selection.decisions {
        match &decision.reason {
            Reason::Selected(_) => {}
            Reason::OpenRun => continue,
            reason => report.issue(decision.issue, reason.code(), reason.words()),
        }
    }
    for number in selection.selected() {
        start_or_report(world, queue, number, Way::Queue, report).await?;
    }
    Ok(())
}

fn has_free_slot(queue: &QueueSnapshot) -> bool {
    queue.slots_taken.known().is_some_and(|taken| *taken < queue.max_agents)
}

/// Starts work on one issue. What goes wrong with it on the forge concerns no other.
async fn start_or_report(
    world: &World,
    queue: &QueueSnapshot,
    number: IssueNumber,
    way: Way,
    report: &mut Report,
) -> Result<(), TickError> {
    match start(world, queue, number, way, report).await {
        Err(TickError::Forge(ForgeError::NotFound { .. })) => {
            report.issue(number, "unknown", "the forge has no such issue");
            Ok(())
        }
        Err(TickError::Forge(error)) => {
            report.issue(number, "unknown", format!("not decided: {error}"));
            report.problems.push(format!("issue {number}: {error}"));
            Ok(())
        }
        result => result,
    }
}

async fn start(
    world: &World,
    queue: &QueueSnapshot,
    number: IssueNumber,
    way: Way,
    report: &mut Report,
) -> Result<(), TickError> {
    let dispatch = match world.locks.take(LockName::Dispatch, DISPATCH_WAIT).await {
        Ok(lock) => lock,
        Err(LockError::Held { .. }) => {
            report.issue(number, "dispatch_busy", "another process is choosing in this repository");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    // Whoever leads a run of this issue is about to end it, or has just begun: the next tick sees what came of it.
    let run_lock = match world.locks.take(LockName::Run(number), Duration::ZERO).await {
        Ok(lock) => lock,
        Err(LockError::Held { .. }) => {
            report.issue(number, "run_lock_held", "another process works on it");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    match claim_under_lock(world, queue, number, way).await? {
        Claimed::No { code, words } => report.issue(number, code, words),
        Claimed::Yes(mut run) => {
            confirm(world, &mut run, dispatch.as_ref()).await?;
            drop((dispatch, run_lock));
            if run.stage.is_ended() {
                report.issue(number, "claim_lost", "another claim was there first");
            } else {
                world.machine.launch_driver(&run.project, run.issue, &run.id)?;
                report.issue(number, "started", format!("run {} begins", run.id));
            }
        }
    }
    Ok(())
}

/// Why an issue is to be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is next in the queue.
    Queue,
    /// It has an open pull request of rig's own, and no run.
    Stranded,
    /// The same, and the gate is passed: only the merge and what follows are left.
    Accepted,
    /// Somebody has named it.
    ByHand,
}

/// What came of trying to claim.
pub enum Claimed {
    Yes(Box<Run>),
    No { code: &'static str, words: String },
}

/// Reads the issue again, judges it again, and writes the claim into the journal. The caller holds the dispatch lock.
pub async fn claim_under_lock(
    world: &World,
    queue: &QueueSnapshot,
    number: IssueNumber,
    way: Way,
) -> Result<Claimed, TickError> {
    let issue = world.forge.issue(number).await?;
    let open_runs = world.store.open_runs(Some(&world.project.name)).await?;
    if let Some(pause) = pause_after_failure(world, number).await?.filter(|_| way != Way::ByHand) {
        return Ok(Claimed::No { code: "claim_failed_lately", words: pause });
    }
    if way == Way::Accepted {
        return match issue.state {
            OpenOrClosed::Open => reserve(world, &issue, way).await,
            OpenOrClosed::Closed => Ok(Claimed::No { code: "closed", words: "it is closed".into() }),
        };
    }
    let candidate = snapshot::candidate(world, &open_runs, in_queue(world, issue.clone(), way)).await;
    let mut fresh = snapshot::base(world, &open_runs, vec![candidate]);
    if way == Way::ByHand {
        fresh.max_agents = u32::MAX;
        fresh.min_free_memory_mb = 0;
        fresh.switched_on = Known::Known(true);
    }
    fresh.issues.clone_from(&queue.issues);
    fresh.links.clone_from(&queue.links);
    let selection = snapshot::settle(world, &mut fresh).await;
    if !selection.selected().any(|selected| selected == number) {
        let reason = selection.decisions.into_iter().find(|decision| decision.issue == number);
        let (code, words) = reason.map_or(("unknown", "it cannot be judged".into()), |decision| {
            (decision.reason.code(), decision.reason.words())
        });
        return Ok(Claimed::No { code, words });
    }
    reserve(world, &issue, way).await
}

async fn reserve(world: &World, issue: &Issue, way: Way) -> Result<Claimed, TickError> {
    match claim::reserve(world, issue, matches!(way, Way::ByHand | Way::Accepted)).await {
        Ok(run) => Ok(Claimed::Yes(Box::new(run))),
        Err(StoreError::AlreadyOpen { run, .. }) => {
            Ok(Claimed::No { code: "open_run", words: format!("run {run} works on it already") })
        }
        Err(StoreError::NoSlot { open, limit, .. }) => {
            Ok(Claimed::No { code: "no_free_slot", words: format!("{open} of {limit} agents are at work") })
        }
        Err(error) => Err(error.into()),
    }
}

/// What is named by hand, or has a pull request already, is worked on whether or not it is in the queue.
fn in_queue(world: &World, mut issue: Issue, way: Way) -> Issue {
    let labels = &world.project.labels;
    if way != Way::Queue && !issue.has_label(&labels.backlog) {
        issue.labels.push(labels.backlog.clone());
    }
    issue
}

async fn pause_after_failure(world: &World, issue: IssueNumber) -> Result<Option<String>, StoreError> {
    let Some(row) = world.store.latest_run(&world.project.name, issue).await? else { return Ok(None) };
    let lately = world.clock.now().duration_since(row.changed_at) < GIVEN_BACK_PAUSE;
    if row.open || row.stage != "given_back" || !lately {
        return Ok(None);
    }
    let run = resume::load(world, &row.run).await?;
    Ok(match &run.stage {
        Stage::Ended { end: crate::domain::run::End::GivenBack { why } } if run.pull_request.is_none() => {
            Some(format!("its last claim was given back within the hour: {why}"))
        }
        _ => None,
    })
}

/// Confirms a fresh claim on the forge. A failure that may pass leaves the run to its driver.
pub async fn confirm(world: &World, run: &mut Run, dispatch: &dyn crate::ports::lock::Held) -> Result<(), TickError> {
    let order = EffectId { run: run.id.clone(), seq: Seq(1), index: 0 };
    let (event, completes) = match claim::confirm(world, run, dispatch).await {
        Ok(event) => (event, Some(order)),
        Err(error) if error.is_transient() => {
            tracing::warn!(run = %run.id, %error, "the claim waits for the forge");
            return Ok(());
        }
        Err(error) => (Event::EffectFailed { error: format!("cannot claim the issue: {error}") }, Some(order)),
    };
    let result = commit::commit(world, run, 0, event, completes, &[]).await;
    if let Ok(commit::Committed::Moved) = &result
        && matches!(run.stage, Stage::Finishing { .. })
        && run.pending.is_empty()
    {
        commit::commit(world, run, 0, Event::RunEnded, None, &[]).await?;
    }
    match result {
        // A driver that was started meanwhile has confirmed it.
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
