//! Fetches what a tick decides from, all of it once and side by side. What cannot be fetched is unknown, never left out.

use super::World;
use crate::{
    domain::{
        ids::IssueNumber,
        issue::{Issue, OpenOrClosed},
        known::Known,
        pull_request::PullRequest,
        queue::{
            Asks, Candidate, Claim, IssueFact, LabelNames, QueueSnapshot, Selection, select, written_dependencies,
        },
    },
    ports::{
        forge::{ForgeError, StateFilter},
        store::{RunRow, StoreResult},
    },
};
use futures::{StreamExt, stream};
use std::collections::BTreeMap;

/// Requests for single issues that are under way at once.
const CONCURRENT: usize = 6;
/// Rounds of asking for further facts; each asks for something new, so this is only a belt.
const ROUNDS: u32 = 200;

/// What a tick knows of one project.
pub struct Snapshot {
    pub open_runs: Vec<RunRow>,
    pub pull_requests: Known<Vec<PullRequest>>,
    pub queue: QueueSnapshot,
}

/// Fetches the snapshot of a project.
pub async fn fetch(world: &World) -> StoreResult<Snapshot> {
    let labels = &world.project.labels;
    let (open_runs, pull_requests, backlog, in_progress) = tokio::join!(
        world.store.open_runs(Some(&world.project.name)),
        world.forge.pull_requests(StateFilter::Open),
        world.forge.issues(StateFilter::Open, Some(&labels.backlog)),
        world.forge.issues(StateFilter::Open, Some(&labels.in_progress)),
    );
    let open_runs = open_runs?;
    let pull_requests = known(pull_requests);
    let mut issues: BTreeMap<IssueNumber, Issue> = BTreeMap::new();
    let mut unread = None;
    for list in [backlog, in_progress] {
        match list {
            Ok(list) => issues.extend(list.into_iter().map(|issue| (issue.number, issue))),
            // Half a queue is no queue: an older or more urgent issue may be in the other half.
            Err(error) => unread = Some(error.to_string()),
        }
    }
    if let Some(why) = &unread {
        tracing::warn!(project = %world.project.name, why, "the queue could not be read");
        issues.clear();
    }
    let candidates = stream::iter(issues.into_values())
        .map(|issue| candidate(world, &open_runs, issue))
        .buffered(CONCURRENT)
        .collect()
        .await;
    let queue = base(world, &open_runs, candidates);
    Ok(Snapshot { open_runs, pull_requests, queue })
}

/// Returns a queue snapshot without answers to further questions.
pub fn base(world: &World, open_runs: &[RunRow], candidates: Vec<Candidate>) -> QueueSnapshot {
    let slots_taken = open_runs.iter().filter(|row| row.holds_slot).count();
    QueueSnapshot {
        repository: world.project.repository.to_string(),
        labels: label_names(world),
        switched_on: Known::Known(world.project.enabled),
        free_memory_mb: match world.machine.available_memory_mb() {
            Some(free) => Known::Known(free),
            None => Known::unknown("the machine does not say how much memory is free"),
        },
        min_free_memory_mb: world.project.agent.min_free_memory_mb,
        max_agents: world.project.agent.max_agents,
        slots_taken: Known::Known(u32::try_from(slots_taken).unwrap_or(u32::MAX)),
        waiting_pull_requests: Known::Known(open_runs.iter().filter_map(|row| row.pull_request).collect()),
        candidates,
        issues: BTreeMap::new(),
        links: BTreeMap::new(),
    }
}

/// Gathers what concerns one issue of the queue.
pub async fn candidate(world: &World, open_runs: &[RunRow], issue: Issue) -> Candidate {
    let open_run = open_runs.iter().any(|row| row.issue == issue.number);
    let claimed = issue.has_label(&world.project.labels.in_progress);
    let claim = if claimed && !open_run { claim_of(world, issue.number).await } else { Known::Known(Claim::Nobody) };
    Candidate {
        number: issue.number,
        issue: Known::Known(issue),
        is_pull_request: false,
        claim,
        open_run: Known::Known(open_run),
    }
}

/// Reads who claimed an issue from the claim comments: the last one standing tells the owner.
async fn claim_of(world: &World, number: IssueNumber) -> Known<Claim> {
    let comments = match world.forge.comments(number.0).await {
        Ok(comments) => comments,
        Err(error) => return Known::unknown(error.to_string()),
    };
    let own = format!("root={} -->", world.root_id);
    let last = comments
        .iter()
        .rfind(|comment| comment.author.is(&world.project.forge.bot) && comment.body.contains("<!-- rig:claim run="));
    Known::Known(match last {
        Some(comment) if comment.body.contains(&own) => Claim::ThisRoot,
        Some(comment) => Claim::Other(comment.body.lines().next().unwrap_or("another root").to_owned()),
        None => Claim::Nobody,
    })
}

/// Selects, fetching the further facts that the selection asks for until it asks for none.
pub async fn settle(world: &World, snapshot: &mut QueueSnapshot) -> Selection {
    for _ in 0..ROUNDS {
        let selection = select(snapshot);
        if selection.asks.is_empty() {
            return selection;
        }
        answer(world, snapshot, &selection.asks).await;
    }
    tracing::error!(project = %world.project.name, "the selection did not come to an end");
    Selection { decisions: Vec::new(), asks: Asks::default() }
}

async fn answer(world: &World, snapshot: &mut QueueSnapshot, asks: &Asks) {
    let issues: Vec<_> = stream::iter(asks.issues.clone())
        .map(|number| async move { (number, issue_fact(world, number).await) })
        .buffered(CONCURRENT)
        .collect()
        .await;
    let links: Vec<_> = stream::iter(asks.links.clone())
        .map(|number| async move { (number, known(world.forge.dependency_links(number).await)) })
        .buffered(CONCURRENT)
        .collect()
        .await;
    snapshot.issues.extend(issues);
    snapshot.links.extend(links);
}

async fn issue_fact(world: &World, number: IssueNumber) -> Known<IssueFact> {
    match world.forge.issue(number).await {
        Ok(issue) if issue.state == OpenOrClosed::Closed => Known::Known(IssueFact::Closed),
        Ok(issue) => {
            let depends_on = written_dependencies(&issue.body, number).numbers;
            Known::Known(IssueFact::Open { depends_on })
        }
        Err(ForgeError::NotFound { .. }) => Known::Known(IssueFact::Missing),
        Err(error) => Known::unknown(error.to_string()),
    }
}

fn label_names(world: &World) -> LabelNames {
    let labels = &world.project.labels;
    LabelNames {
        backlog: labels.backlog.clone(),
        priority: labels.priority.clone(),
        in_progress: labels.in_progress.clone(),
        blocked: labels.blocked.clone(),
        underspecified: labels.underspecified.clone(),
        skip: labels.skip.clone(),
    }
}

fn known<T>(result: Result<T, ForgeError>) -> Known<T> {
    match result {
        Ok(value) => Known::Known(value),
        Err(error) => Known::unknown(error.to_string()),
    }
}
