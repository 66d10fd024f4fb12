//! One tick over one project: merge what is ready, go on with open runs, start the next issues. Bounded in time; never
//! waits for a session. Safe at any rate and side by side with other ticks.

use super::{
    World, claim, commit, dispatch, gate,
    merge::{Wanted, judge_and_merge},
    notices, resume,
    snapshot::{self, Snapshot},
    survey,
};
use crate::{
    domain::{
        ci::CiVerdict,
        gate::{Gate, closed_issues},
        ids::{EffectId, IssueNumber, PullRequestNumber, Seq},
        issue::Issue,
        known::Known,
        pull_request::PullRequest,
        queue::{QueueSnapshot, Reason},
        run::{Event, IssueState, Run, Stage},
    },
    ports::{
        forge::ForgeError,
        launch::{LaunchError, ProcessIdentity},
        lock::{LockError, LockName},
        store::{DecisionRow, RunRow, StoreError},
    },
};
use jiff::SignedDuration;
use std::time::Duration;

/// Longest wait for another process that chooses in the same repository.
const DISPATCH_WAIT: Duration = Duration::from_secs(5);
/// A driver without a sign of life for this long is ended, and its run adopted.
const STALE_BEAT: SignedDuration = SignedDuration::from_mins(5);
/// A driver whose sign of life is younger than this, and whose process lives, needs no other.
const FRESH_BEAT: SignedDuration = SignedDuration::from_secs(90);
/// An issue whose last run could not even claim it is left alone for this long.
const GIVEN_BACK_PAUSE: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, thiserror::Error)]
pub enum TickError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// What a tick decided about one thing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// `issue` or `pull_request`.
    pub subject_kind: &'static str,
    pub subject: u64,
    /// Stable code.
    pub code: String,
    pub words: String,
}

/// Everything that a tick did and decided.
#[derive(Debug, Default)]
pub struct Report {
    pub lines: Vec<Line>,
    /// What went wrong, in words; the tick went on all the same.
    pub problems: Vec<String>,
}

impl Report {
    fn pull_request(&mut self, number: PullRequestNumber, code: &str, words: impl Into<String>) {
        self.lines.push(Line {
            subject_kind: "pull_request",
            subject: number.0,
            code: code.into(),
            words: words.into(),
        });
    }

    fn issue(&mut self, number: IssueNumber, code: &str, words: impl Into<String>) {
        self.lines.push(Line { subject_kind: "issue", subject: number.0, code: code.into(), words: words.into() });
    }
}

/// Makes one tick over the world's project.
pub async fn tick(world: &World) -> Result<Report, TickError> {
    let mut report = Report::default();
    let Snapshot { open_runs, pull_requests, mut queue } = snapshot::fetch(world).await?;
    match pull_requests {
        Known::Known(list) => merge_scan(world, &open_runs, &list, &mut report).await,
        Known::Unknown(why) => report.problems.push(format!("pull requests are unknown: {why}")),
    }
    end_stale_drivers(world).await?;
    adopt(world, &open_runs, &mut report).await?;
    launch(world, &mut queue, &mut report).await?;
    if let Err(error) = mirrors(world).await {
        report.problems.push(format!("mirrors: {error}"));
    }
    notices::send(world).await?;
    record(world, &report).await?;
    Ok(report)
}

/// Merges what is approved and green, before any lock of the dispatch, so that it lands while agents are busy.
async fn merge_scan(world: &World, open_runs: &[RunRow], list: &[PullRequest], report: &mut Report) {
    for pull_request in list.iter().filter(|pull_request| may_merge(world, pull_request)) {
        if let Err(error) = scan_one(world, open_runs, pull_request, report).await {
            report.pull_request(pull_request.number, "unknown", format!("not decided: {error}"));
            report.problems.push(format!("pull request {}: {error}", pull_request.number));
        }
    }
}

/// rig merges its own pull requests, and those of the chore branches of configured authors.
fn may_merge(world: &World, pull_request: &PullRequest) -> bool {
    let chore = pull_request.same_repository
        && pull_request.head_branch.as_ref().is_some_and(|branch| branch.as_str().starts_with("chore/"))
        && world.project.forge.chore_authors.iter().any(|author| author.is(&pull_request.author));
    survey::is_ours(world, pull_request) || chore
}

async fn scan_one(
    world: &World,
    open_runs: &[RunRow],
    pull_request: &PullRequest,
    report: &mut Report,
) -> Result<(), dispatch::DispatchError> {
    let number = pull_request.number;
    let issue = issue_of(pull_request);
    let run = match open_runs.iter().find(|row| row.pull_request == Some(number)) {
        Some(row) => Some(resume::load(world, &row.run).await?),
        None => last_run(world, issue).await?,
    };
    let green = run.as_ref().and_then(|run| run.green_at.as_ref());
    let reviews = gate::reviews(world, pull_request).await?;
    let head = pull_request.head.clone();
    // CI is asked only when everything else holds; asking first costs a request for every waiting pull request.
    let assumed = Known::Known((head.clone(), CiVerdict::Green));
    let without_ci = gate::snapshot(world, pull_request.clone(), assumed, Known::Known(reviews.clone()), issue);
    if let Gate::NotReady(reasons) = crate::domain::gate::gate(&without_ci) {
        let words: Vec<String> = reasons.iter().map(|reason| reason.words()).collect();
        report.pull_request(number, "not_ready", words.join("; "));
        return Ok(());
    }
    let ci = gate::ci_verdict(world, &head, green).await;
    let whole = gate::snapshot(world, pull_request.clone(), ci, Known::Known(reviews), issue);
    if let Gate::NotReady(reasons) = crate::domain::gate::gate(&whole) {
        let words: Vec<String> = reasons.iter().map(|reason| reason.words()).collect();
        report.pull_request(number, "not_ready", words.join("; "));
        return Ok(());
    }
    let wanted = Wanted { pull_request: number, head: &head, issue, journaled_green: green };
    match judge_and_merge(world, &wanted).await? {
        Event::Merged { .. } => {
            report.pull_request(number, "merged", format!("merged at {}", head.short()));
            if !open_runs.iter().any(|row| row.pull_request == Some(number)) {
                after_merge(world, issue).await?;
            }
        }
        Event::MergeRefused { why, .. } => report.pull_request(number, "merge_refused", format!("{why:?}")),
        other => report.pull_request(number, "changed", other.kind()),
    }
    Ok(())
}

/// What a run would do after its merge; without a run the tick does it.
async fn after_merge(world: &World, issue: Option<IssueNumber>) -> Result<(), dispatch::DispatchError> {
    if let Some(issue) = issue {
        if world.forge.issue(issue).await?.state == crate::domain::issue::OpenOrClosed::Open {
            world.forge.close_issue(issue).await?;
        }
        claim::set_state(world, issue, IssueState::Done).await?;
    }
    dispatch::push_mirrors(world).await.map(|_| ())
}

fn issue_of(pull_request: &PullRequest) -> Option<IssueNumber> {
    let by_branch = pull_request.head_branch.as_ref().and_then(|branch| survey::issue_of_branch(branch.as_str()));
    by_branch.or_else(|| closed_issues(&pull_request.body).first().copied())
}

async fn last_run(world: &World, issue: Option<IssueNumber>) -> Result<Option<Run>, StoreError> {
    let Some(issue) = issue else { return Ok(None) };
    match world.store.latest_run(&world.project.name, issue).await? {
        Some(row) => resume::load(world, &row.run).await.map(Some),
        None => Ok(None),
    }
}

/// Ends drivers that live and show no sign of life; their runs are adopted like all others.
async fn end_stale_drivers(world: &World) -> Result<(), StoreError> {
    let now = world.clock.now();
    for row in world.store.drivers().await? {
        if now.duration_since(row.beat_at) < STALE_BEAT {
            continue;
        }
        let process = ProcessIdentity { pid: row.pid, start: row.process_start, boot_id: row.boot_id.clone() };
        if world.machine.is_alive(&process) {
            tracing::warn!(run = %row.run, pid = row.pid, "a driver without a sign of life is ended");
            world.machine.end(&process);
        }
        world.store.remove_driver(&row.run).await?;
    }
    Ok(())
}

/// Starts a driver for every open run that has none; where one lives after all, the newcomer leaves.
async fn adopt(world: &World, open_runs: &[RunRow], report: &mut Report) -> Result<(), TickError> {
    let drivers = world.store.drivers().await?;
    let now = world.clock.now();
    for row in open_runs {
        let led = drivers.iter().find(|driver| driver.run == row.run).is_some_and(|driver| {
            let process =
                ProcessIdentity { pid: driver.pid, start: driver.process_start, boot_id: driver.boot_id.clone() };
            now.duration_since(driver.beat_at) < FRESH_BEAT && world.machine.is_alive(&process)
        });
        if led {
            report.issue(row.issue, "open_run", format!("in work: waits for {}", row.waits_for));
        } else {
            world.machine.launch_driver(&row.project, row.issue, &row.run)?;
            report.issue(row.issue, "adopted", format!("its run goes on: waits for {}", row.waits_for));
        }
    }
    Ok(())
}

/// Chooses, claims and starts, under the dispatch lock, one issue after the other while slots are free.
async fn launch(world: &World, queue: &mut QueueSnapshot, report: &mut Report) -> Result<(), TickError> {
    let selection = snapshot::settle(world, queue).await;
    for decision in &selection.decisions {
        match &decision.reason {
            Reason::Selected(_) => {}
            Reason::OpenRun => continue,
            reason => report.issue(decision.issue, reason.code(), reason.words()),
        }
    }
    for number in selection.selected() {
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
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match claim_under_lock(world, queue, number, false).await? {
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
    }
    Ok(())
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
    by_hand: bool,
) -> Result<Claimed, TickError> {
    let issue = world.forge.issue(number).await?;
    let open_runs = world.store.open_runs(Some(&world.project.name)).await?;
    if let Some(pause) = pause_after_failure(world, number).await?.filter(|_| !by_hand) {
        return Ok(Claimed::No { code: "claim_failed_lately", words: pause });
    }
    let candidate = snapshot::candidate(world, &open_runs, claimable_by_hand(world, issue.clone(), by_hand)).await;
    let mut fresh = snapshot::base(world, &open_runs, vec![candidate]);
    if by_hand {
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
    match claim::reserve(world, &issue, by_hand).await {
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

/// Somebody who names an issue by hand wants it worked on whether or not it is in the queue.
fn claimable_by_hand(world: &World, mut issue: Issue, by_hand: bool) -> Issue {
    let labels = &world.project.labels;
    if by_hand && !issue.has_label(&labels.backlog) {
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

/// Goes on with mirrors that do not have the primary branch's tip.
async fn mirrors(world: &World) -> Result<(), dispatch::DispatchError> {
    if world.project.mirrors.is_empty() {
        return Ok(());
    }
    let rows = world.store.mirrors(&world.project.name).await?;
    // Before anything was pushed by rig there is nothing to catch up with.
    if rows.is_empty() {
        return Ok(());
    }
    let tip = world.forge.branch_tip(&world.project.primary_branch).await?;
    let all_there = world.project.mirrors.keys().all(|name| {
        rows.iter().any(|row| row.mirror == *name && row.error.is_empty() && row.sha.is_some() && row.sha == tip)
    });
    if all_there { Ok(()) } else { dispatch::push_mirrors(world).await.map(|_| ()) }
}

async fn record(world: &World, report: &Report) -> Result<(), StoreError> {
    let at = world.clock.now();
    let rows: Vec<DecisionRow> = report
        .lines
        .iter()
        .map(|line| DecisionRow {
            project: world.project.name.clone(),
            subject_kind: line.subject_kind.to_owned(),
            subject: line.subject,
            code: line.code.clone(),
            words: line.words.clone(),
            at,
        })
        .collect();
    world.store.record_decisions(&rows).await
}
