//! The part of a tick that merges: approved and green work lands before any lock of the dispatch is asked for.

use super::{
    World, dispatch, gate,
    merge::{Wanted, judge_and_merge},
    resume, survey,
    tick::Report,
};
use crate::{
    domain::{
        ci::CiVerdict,
        gate::{Gate, closed_issues},
        ids::IssueNumber,
        known::Known,
        pull_request::PullRequest,
        run::{Event, Run},
    },
    ports::store::{RunRow, StoreError},
};

/// An open pull request of rig's own that no run leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stranded {
    pub(super) issue: IssueNumber,
    /// The gate is passed: a person has accepted it, whatever the issue's labels say.
    pub(super) is_ready: bool,
}

/// Merges what is approved and green, before any lock of the dispatch, so that it lands while agents are busy.
pub(super) async fn merge_scan(
    world: &World,
    open_runs: &[RunRow],
    list: &[PullRequest],
    report: &mut Report,
) -> Vec<Stranded> {
    let mut stranded = Vec::new();
    for pull_request in list.iter().filter(|pull_request| may_merge(world, pull_request)) {
        match scan_one(world, open_runs, pull_request, report).await {
            Ok(found) => stranded.extend(found),
            Err(error) => {
                report.pull_request(pull_request.number, "unknown", format!("not decided: {error}"));
                report.problems.push(format!("pull request {}: {error}", pull_request.number));
            }
        }
    }
    stranded
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
) -> Result<Option<Stranded>, dispatch::DispatchError> {
    let number = pull_request.number;
    let issue = issue_of(pull_request);
    let open_run = open_runs.iter().find(|row| row.pull_request == Some(number));
    let run = match open_run {
        Some(row) => Some(resume::load(world, &row.run).await?),
        None => last_run(world, issue).await?,
    };
    let green = run.as_ref().and_then(|run| run.green_at.as_ref());
    // Merging is more than the merge: a run does the rest too, however often rig dies meanwhile.
    let leaderless = open_run.is_none();
    let stranded = |is_ready| issue.filter(|_| leaderless).map(|issue| Stranded { issue, is_ready });
    let reviews = gate::reviews(world, pull_request).await?;
    let head = pull_request.head.clone();
    // CI is asked only when everything else holds; asking first costs a request for every waiting pull request.
    let assumed = Known::Known((head.clone(), CiVerdict::Green));
    let without_ci = gate::snapshot(world, pull_request.clone(), assumed, Known::Known(reviews.clone()), issue);
    if let Gate::NotReady(reasons) = crate::domain::gate::gate(&without_ci) {
        let words: Vec<String> = reasons.iter().map(|reason| reason.words()).collect();
        report.pull_request(number, "not_ready", words.join("; "));
        return Ok(stranded(false));
    }
    let ci = gate::ci_verdict(world, &head, green).await;
    let whole = gate::snapshot(world, pull_request.clone(), ci, Known::Known(reviews), issue);
    if let Gate::NotReady(reasons) = crate::domain::gate::gate(&whole) {
        let words: Vec<String> = reasons.iter().map(|reason| reason.words()).collect();
        report.pull_request(number, "not_ready", words.join("; "));
        return Ok(stranded(false));
    }
    if let Some(stranded) = stranded(true) {
        report.pull_request(number, "ready", "a run merges it and does what follows");
        return Ok(Some(stranded));
    }
    let wanted = Wanted { pull_request: number, head: &head, issue, journaled_green: green };
    match judge_and_merge(world, &wanted).await? {
        merged @ Event::Merged { .. } => {
            if let Some(row) = open_run {
                tell_run(world, row, &merged).await?;
            }
            report.pull_request(number, "merged", format!("merged at {}", head.short()));
            if issue.is_none() {
                dispatch::push_mirrors(world).await?;
            }
        }
        Event::MergeRefused { why, .. } => report.pull_request(number, "merge_refused", format!("{why:?}")),
        other => report.pull_request(number, "changed", other.kind()),
    }
    Ok(None)
}

/// Tells the run that leads the pull request, so that what follows the merge does not wait for its next look.
async fn tell_run(world: &World, row: &RunRow, merged: &Event) -> Result<(), StoreError> {
    let body = serde_json::to_value(merged)
        .map_err(|error| StoreError::Failed { message: format!("an input cannot be written: {error}") })?;
    world.store.put_input(&row.run, "merged", merged.kind(), &body).await?;
    world.machine.wake_driver(&row.project, row.issue);
    Ok(())
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
