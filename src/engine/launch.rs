//! The part of a tick that starts work: choosing, claiming, launching. Also how an issue is claimed by hand.

use super::{
    World, claim, commit, hopeless,
    merge_scan::Stranded,
    resume, retry, snapshot,
    tick::{Report, TickError},
};
use crate::{
    domain::{
        code::Code,
        ids::{EffectId, IssueNumber, Seq},
        issue::{Issue, OpenOrClosed},
        known::Known,
        queue::{Claim, QueueSnapshot, Reason, select},
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
/// Words of the decision about a number that no issue has.
const NO_SUCH_ISSUE: &str = "the forge has no such issue";

/// Chooses, claims and starts, under the dispatch lock, one issue after the other while slots are free: first what lies
/// there with a pull request and without a run, then the queue.
pub(super) async fn launch(
    world: &World,
    queue: &QueueSnapshot,
    stranded: &[Stranded],
    report: &mut Report,
) -> Result<(), TickError> {
    let mut started = 0;
    for stranded in stranded {
        let way = if stranded.is_ready { Way::Accepted } else { Way::Stranded };
        if let (Way::Stranded, Some(until)) = (way, queue.usage_limit) {
            let reason = Reason::UsageLimit { until };
            report.issue(stranded.issue, reason.code(), reason.words());
            continue;
        }
        if way == Way::Stranded && !has_free_slot(queue, started) {
            report.issue(stranded.issue, Code::NoFreeSlot, "its pull request waits for a free agent");
            continue;
        }
        started += u32::from(start_or_report(world, queue, stranded.issue, way, report).await?);
    }
    let selection = select(queue);
    // What was decided about an issue by its pull request stands: one decision for each.
    let is_stranded = |number| stranded.iter().any(|stranded| stranded.issue == number);
    for decision in selection.decisions.iter().filter(|decision| !is_stranded(decision.issue)) {
        match &decision.reason {
            Reason::Selected(_) | Reason::OpenRun => continue,
            // What was not asked is told once, for the whole tick.
            Reason::Unknown(_) if world.allowance.hit().is_none() => report.problem(decision.reason.words()),
            _ => {}
        }
        let (code, mut words) = (decision.reason.code(), decision.reason.words());
        if hopeless::is_hopeless(code) {
            let problem;
            (words, problem) = hopeless::words(world, decision.issue, code, words).await?;
            problem.into_iter().for_each(|problem| report.problem(problem));
        }
        report.issue(decision.issue, code, words);
    }
    for number in selection.selected().filter(|number| !is_stranded(*number)) {
        start_or_report(world, queue, number, Way::Queue, report).await?;
    }
    Ok(())
}

fn has_free_slot(queue: &QueueSnapshot, started: u32) -> bool {
    queue.slots_taken.known().is_some_and(|taken| taken.saturating_add(started) < queue.max_agents)
}

/// Starts work on one issue, and returns whether it has begun. What goes wrong with it on the forge concerns no other.
async fn start_or_report(
    world: &World,
    queue: &QueueSnapshot,
    number: IssueNumber,
    way: Way,
    report: &mut Report,
) -> Result<bool, TickError> {
    match start(world, queue, number, way, report).await {
        Err(TickError::Forge(ForgeError::NotFound { .. })) => {
            let last = world.store.decisions(&world.project.name, Some(number.0), 1).await?;
            // A pull request may name an issue that never was: that is said once.
            if way == Way::Queue || last.first().is_none_or(|last| last.words != NO_SUCH_ISSUE) {
                let by = if way == Way::Queue { "it was in the queue" } else { "a pull request is for it" };
                report.problem(format!("issue {number}: {by}, and {NO_SUCH_ISSUE}"));
            }
            report.issue(number, Code::Unknown, NO_SUCH_ISSUE);
            Ok(false)
        }
        Err(TickError::Forge(error)) => {
            report.issue(number, Code::Unknown, format!("not decided: {error}"));
            report.problem(format!("issue {number}: {error}"));
            Ok(false)
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
) -> Result<bool, TickError> {
    let dispatch = match world.locks.take(LockName::Dispatch, DISPATCH_WAIT).await {
        Ok(lock) => lock,
        Err(LockError::Held { .. }) => {
            report.issue(number, Code::DispatchBusy, "another process is choosing in this repository");
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    };
    // Whoever leads a run of this issue is about to end it, or has just begun: the next tick sees what came of it.
    let run_lock = match world.locks.take(LockName::Run(number), Duration::ZERO).await {
        Ok(lock) => lock,
        Err(LockError::Held { .. }) => {
            report.issue(number, Code::RunLockHeld, "another process works on it");
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    };
    match claim_under_lock(world, queue, number, way).await? {
        Claimed::No { code, words } => {
            if code == Code::Unknown && world.allowance.hit().is_none() {
                report.problem(format!("issue {number}: {words}"));
            }
            report.issue(number, code, words);
            Ok(false)
        }
        Claimed::Yes(mut run) => {
            if let Some(problem) = confirm(world, &mut run, dispatch.as_ref()).await? {
                report.problem(format!("issue {number}: {problem}"));
            }
            drop((dispatch, run_lock));
            if run.stage.is_ended() {
                report.issue(number, Code::ClaimLost, "another claim was there first");
                return Ok(false);
            }
            world.machine.launch_driver(&run.project, run.issue, &run.id)?;
            report.issue(number, Code::Started, format!("run {} begins", run.id));
            Ok(true)
        }
    }
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
    No { code: Code, words: String },
}

/// Reads the issue again, judges it again, and writes the claim into the journal. The caller holds the dispatch lock.
pub async fn claim_under_lock(
    world: &World,
    queue: &QueueSnapshot,
    number: IssueNumber,
    way: Way,
) -> Result<Claimed, TickError> {
    let issue = world.forge.issue(number).await?;
    let open_runs = world.open_runs().await?;
    if let Some(pause) = pause_after_failure(world, number).await?.filter(|_| way != Way::ByHand) {
        return Ok(Claimed::No { code: Code::ClaimFailedLately, words: pause });
    }
    if way == Way::Accepted {
        return match issue.state {
            OpenOrClosed::Open => match snapshot::candidate(world, &open_runs, issue.clone()).await.claim {
                Known::Known(Claim::Other(who)) => Ok(Claimed::No { code: Code::InProgressElsewhere, words: who }),
                Known::Known(_) => reserve(world, &issue, way).await,
                Known::Unknown(why) => {
                    Ok(Claimed::No { code: Code::Unknown, words: format!("its claim is unknown: {why}") })
                }
            },
            OpenOrClosed::Closed => Ok(Claimed::No { code: Code::Closed, words: "it is closed".into() }),
        };
    }
    let candidate = snapshot::candidate(world, &open_runs, in_queue(world, issue.clone(), way)).await;
    let mut fresh = snapshot::base(world, &open_runs, vec![candidate]);
    if way == Way::ByHand {
        fresh.max_agents = u32::MAX;
        fresh.min_free_memory_mb = 0;
        fresh.switched_on = Known::Known(true);
    }
    if way != Way::ByHand {
        fresh.usage_limit = queue.usage_limit;
    }
    // What it waits for is read again too: one wrong answer, such as "no links", must not start what is blocked.
    let selection = snapshot::settle(world, &mut fresh).await;
    if !selection.selected().any(|selected| selected == number) {
        let reason = selection.decisions.into_iter().find(|decision| decision.issue == number);
        let (code, words) = reason.map_or((Code::Unknown, "it cannot be judged".into()), |decision| {
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
            Ok(Claimed::No { code: Code::OpenRun, words: format!("run {run} works on it already") })
        }
        Err(StoreError::NoSlot { open, limit, .. }) => {
            Ok(Claimed::No { code: Code::NoFreeSlot, words: format!("{open} of {limit} agents are at work") })
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
    if retry::asked_at(world, issue).await?.is_some_and(|asked| asked >= row.changed_at) {
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

/// Confirms a fresh claim on the forge. Returns what went wrong with it. A failure that may pass leaves the run to its
/// driver, and so does a token that is not accepted: it is replaced sooner or later, and the issue is not at fault.
pub async fn confirm(
    world: &World,
    run: &mut Run,
    dispatch: &dyn crate::ports::lock::Held,
) -> Result<Option<String>, TickError> {
    let order = EffectId { run: run.id.clone(), seq: Seq(1), index: 0 };
    let mut confirmed = claim::confirm(world, run, dispatch).await;
    if let Ok(event @ Event::EarlierClaimsDead { .. }) = confirmed {
        commit::commit(world, run, 0, event, None, &[]).await?;
        confirmed = claim::confirm(world, run, dispatch).await;
    }
    let (event, completes, problem) = match confirmed {
        Ok(event) => (event, Some(order), None),
        Err(error) if error.is_transient() || matches!(error, ForgeError::Unauthorized { .. }) => {
            tracing::warn!(run = %run.id, %error, "the claim waits for the forge");
            return Ok(Some(format!("its claim waits for the forge: {error}")));
        }
        Err(error) => {
            let problem = format!("cannot claim the issue: {error}");
            (Event::EffectFailed { error: problem.clone() }, Some(order), Some(problem))
        }
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
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(problem),
        Err(error) => Err(error.into()),
    }
}
