//! The part of a tick that merges: approved and green work lands before any lock of the dispatch is asked for.

use super::{
    World, dispatch,
    landing::{self, ItsIssue},
    merge::{Wanted, judge_and_merge},
    mirrors,
    snapshot::PullRequestFacts,
    survey,
    tick::Report,
};
use crate::{
    domain::{
        code::Code,
        gate::Gate,
        ids::IssueNumber,
        known::Known,
        run::{Event, MergeRefusal},
    },
    ports::{
        launch::Errand,
        store::{RunRow, StoreError},
    },
};

/// An open pull request of rig's own that no run leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stranded {
    pub(super) issue: IssueNumber,
    /// The gate is passed: a person has accepted it, whatever the issue's labels say.
    pub(super) is_ready: bool,
}

/// Merges what is approved and green, before any lock of the dispatch, so that it lands while agents are busy.
pub(super) async fn merge_scan(world: &World, list: &[PullRequestFacts], report: &mut Report) -> Vec<Stranded> {
    if list.iter().any(|facts| facts.waits_for_check)
        && let Err(error) = world.machine.start_errand(&world.project.name, Errand::Checks)
    {
        report.problem(format!("local CI cannot be started: {error}"));
    }
    let mut stranded = Vec::new();
    for facts in list {
        match scan_one(world, facts, report).await {
            Ok(found) => stranded.extend(found),
            Err(error) => undecided(world, facts, &error.to_string(), report),
        }
    }
    stranded
}

fn undecided(world: &World, facts: &PullRequestFacts, why: &str, report: &mut Report) {
    let number = facts.pull_request.number;
    report.pull_request(number, Code::Unknown, format!("not decided: {why}"));
    // What was not asked is told once, for the whole tick.
    if world.allowance.hit().is_none() {
        report.problem(format!("pull request {number}: {why}"));
    }
}

async fn scan_one(
    world: &World,
    facts: &PullRequestFacts,
    report: &mut Report,
) -> Result<Option<Stranded>, dispatch::DispatchError> {
    let (Known::Known(_), Known::Known(green)) = (&facts.reviews, &facts.journaled_green) else {
        for why in [facts.reviews.why_unknown(), facts.journaled_green.why_unknown()].into_iter().flatten() {
            undecided(world, facts, why, report);
        }
        return Ok(None);
    };
    // Where rig runs CI itself, unknown is what it has not run yet, and no failure.
    let ci = facts.ci.as_ref().filter(|_| !world.ci.runs_here()).and_then(Known::why_unknown);
    if let Some(why) = ci.or(facts.changes.as_ref().and_then(Known::why_unknown)) {
        undecided(world, facts, why, report);
        return Ok(None);
    }
    let PullRequestFacts { issue, led_by, .. } = facts;
    let number = facts.pull_request.number;
    // Merging is more than the merge: a run does the rest too, however often rig dies meanwhile. Nobody works on a chore.
    let is_unled = led_by.is_none() && survey::is_ours(world, &facts.pull_request);
    let stranded = |is_ready| issue.filter(|_| is_unled).map(|issue| Stranded { issue, is_ready });
    let head = match facts.judged(world) {
        Gate::NotReady(reasons) => {
            let words: Vec<String> = reasons.iter().map(|reason| reason.words()).collect();
            report.pull_request(number, Code::NotReady, words.join("; "));
            return Ok(stranded(false));
        }
        Gate::Ready(ready) => ready.head().clone(),
    };
    if let Some(stranded) = stranded(true) {
        match landing::look(world, stranded.issue, number).await? {
            ItsIssue::Open => {
                report.pull_request(number, Code::Ready, "a run merges it and does what follows");
                return Ok(Some(stranded));
            }
            ItsIssue::Missing => {
                let words = landing::missing(stranded.issue);
                report.problem(format!("pull request {number}: {words}"));
                report.pull_request(number, Code::Unknown, words);
                return Ok(None);
            }
            ItsIssue::Over => {}
        }
    }
    if led_by.is_none() {
        landing::begin(world, number).await?;
    }
    let wanted = Wanted {
        pull_request: number,
        head: &head,
        issue: *issue,
        is_led: led_by.is_some(),
        journaled_green: green.as_ref(),
        accepted: &facts.accepted,
    };
    let merged = match judge_and_merge(world, &wanted).await {
        Err(error) if led_by.is_none() => {
            landing::unfinished(number, &error, report);
            return Ok(None);
        }
        merged => merged?,
    };
    match merged {
        merged @ Event::Merged { .. } => {
            match led_by {
                Some(row) => tell_run(world, row, &merged).await?,
                None => {
                    if let Err(error) = landing::finish(world, &facts.pull_request, report).await {
                        landing::unfinished(number, &error, report);
                        return Ok(None);
                    }
                }
            }
            report.pull_request(number, Code::Merged, format!("merged at {}", head.short()));
            if led_by.is_none() {
                mirrors::start(world, report);
            }
        }
        Event::MergeRefused { why: why @ MergeRefusal::TryAgain { .. }, .. } => {
            report.problem(format!("pull request {number}: {}", why.words()));
            report.pull_request(number, Code::MergeRefused, why.words());
        }
        Event::MergeRefused { why, .. } => report.pull_request(number, Code::MergeRefused, why.words()),
        other => report.pull_request(number, Code::Changed, changed(&other)),
    }
    Ok(None)
}

fn changed(event: &Event) -> String {
    match event {
        Event::HeadMoved { head } => format!("its head moved to {} while it was judged", head.short()),
        Event::PullRequestClosed { .. } => "it was closed while it was judged".to_owned(),
        other => format!("it changed while it was judged ({})", other.kind()),
    }
}

/// Tells the run that leads the pull request, so that what follows the merge does not wait for its next look.
async fn tell_run(world: &World, row: &RunRow, merged: &Event) -> Result<(), StoreError> {
    let body = serde_json::to_value(merged)
        .map_err(|error| StoreError::Failed { message: format!("an input cannot be written: {error}") })?;
    match world.store.put_input(&row.run, "merged", merged.kind(), &body).await {
        Ok(_) => world.machine.wake_driver(&row.project, row.issue),
        // It has seen the merge by itself meanwhile.
        Err(StoreError::RunEnded { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
