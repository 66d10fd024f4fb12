//! Fetches what a tick decides from, all of it once and side by side. What cannot be fetched is unknown, never left out.
//! Once it is complete, nothing is read any more before something is done: what is done is judged again by itself.

mod pull_requests;

pub use pull_requests::{PullRequestFacts, is_without_run, issue_of};

use super::{World, claim};
use crate::{
    domain::{
        ids::{IssueNumber, PullRequestNumber},
        issue::{Issue, OpenOrClosed},
        known::Known,
        queue::{
            Asks, Candidate, Claim, IssueFact, LabelNames, QueueSnapshot, Selection, select, written_dependencies,
        },
    },
    ports::{
        forge::{ForgeError, Listed, StateFilter, Unreadable},
        store::{RunRow, StoreResult},
    },
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Issues that are asked about at once.
const CONCURRENT: usize = 12;
/// With more open questions about single issues than this, the list of all open ones is read instead: fifty for one request.
const MOST_SINGLE_ISSUES: usize = 40;
/// Rounds of asking for further facts; each asks for something new, so this is only a belt.
const ROUNDS: u32 = 200;

/// What a tick knows of one project.
pub struct Snapshot {
    /// Those of the project, and those of its repository that other projects lead.
    pub open_runs: Vec<RunRow>,
    /// The open ones that rig may merge, by their number.
    pub pull_requests: Known<Vec<PullRequestFacts>>,
    /// The open ones that rig may not merge, and why.
    pub not_ours: Vec<(PullRequestNumber, String)>,
    /// Open pull requests that make no sense.
    pub unreadable: Vec<Unreadable>,
    /// Complete: the selection asks for nothing more.
    pub queue: QueueSnapshot,
    /// What could not be had, in words.
    pub problems: Vec<String>,
}

impl Snapshot {
    /// Takes back everything that the forge has said.
    pub fn forget_forge(&mut self, why: &str) {
        self.pull_requests = Known::unknown(why);
        self.not_ours.clear();
        self.unreadable.clear();
        self.problems.clear();
        self.queue.candidates.clear();
    }
}

/// Fetches the snapshot of a project.
pub async fn fetch(world: &World) -> StoreResult<Snapshot> {
    let labels = &world.project.labels;
    let (open_runs, pull_requests, backlog, in_progress) = tokio::join!(
        world.open_runs(),
        world.forge.pull_requests(StateFilter::Open),
        world.forge.issues(StateFilter::Open, Some(&labels.backlog)),
        world.forge.issues(StateFilter::Open, Some(&labels.in_progress)),
    );
    let open_runs = open_runs?;
    let usage_limit = world.store.usage_limit(world.clock.now()).await?;
    let listed = pull_requests.iter().flat_map(|listed| &listed.items);
    let not_ours = listed.filter_map(|one| pull_requests::not_ours(world, one)).collect();
    let unreadable = pull_requests.iter().flat_map(|listed| &listed.unreadable).cloned().collect();
    let (pull_requests, (queue, problems)) = tokio::join!(
        async {
            match pull_requests {
                Ok(listed) => Known::Known(pull_requests::gather(world, &open_runs, listed.items).await),
                Err(error) => Known::unknown(error.to_string()),
            }
        },
        gather_queue(world, &open_runs, usage_limit, [backlog, in_progress]),
    );
    Ok(Snapshot { open_runs, pull_requests, not_ours, unreadable, queue, problems })
}

async fn gather_queue(
    world: &World,
    open_runs: &[RunRow],
    usage_limit: Option<Timestamp>,
    lists: [Result<Listed<Issue>, ForgeError>; 2],
) -> (QueueSnapshot, Vec<String>) {
    let mut issues: BTreeMap<IssueNumber, Issue> = BTreeMap::new();
    let (mut unread, mut unreadable) = (None, Vec::new());
    for list in lists {
        match list {
            Ok(listed) => {
                issues.extend(listed.items.into_iter().map(|issue| (issue.number, issue)));
                unreadable.extend(listed.unreadable);
            }
            // Half a queue is no queue: an older or more urgent issue may be in the other half.
            Err(error) => unread = Some(error.to_string()),
        }
    }
    let mut problems = Vec::new();
    if let Some(why) = unread {
        problems.push(format!("the queue is unknown: {why}"));
        issues.clear();
        unreadable.clear();
    }
    unreadable.sort_by_key(|one| one.number);
    unreadable.dedup();
    problems.extend(unreadable.iter().map(|one| format!("an issue of the queue cannot be read: {}", words_of(one))));
    let listed: BTreeSet<IssueNumber> = issues.keys().copied().collect();
    let mut candidates: Vec<Candidate> = stream::iter(issues.into_values())
        .map(|issue| candidate(world, open_runs, issue))
        .buffered(CONCURRENT)
        .collect()
        .await;
    let numbered = unreadable.iter().filter_map(|one| Some((IssueNumber(one.number?), one.why.as_str())));
    let without_issue: BTreeMap<IssueNumber, &str> = numbered.filter(|(number, _)| !listed.contains(number)).collect();
    candidates.extend(without_issue.into_iter().map(|(number, why)| Candidate {
        number,
        issue: Known::unknown(why),
        is_pull_request: false,
        claim: Known::unknown(why),
        open_run: Known::Known(open_runs.iter().any(|row| row.issue == number)),
    }));
    let mut queue = base(world, open_runs, candidates);
    queue.usage_limit = usage_limit;
    settle(world, &mut queue).await;
    (queue, problems)
}

pub(super) fn words_of(one: &Unreadable) -> String {
    match one.number {
        Some(number) => format!("#{number}: {}", one.why),
        None => one.why.clone(),
    }
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
        usage_limit: None,
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
        is_pull_request: issue.is_pull_request,
        issue: Known::Known(issue),
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
    let mut claims = comments.iter().filter_map(|comment| Some((comment, claim::claiming_root(world, comment)?)));
    Known::Known(match claims.next_back() {
        Some((_, root)) if root == world.root_id => Claim::ThisRoot,
        Some((comment, _)) => Claim::Other(comment.body.lines().next().unwrap_or("another root").to_owned()),
        None => Claim::Nobody,
    })
}

/// Selects, fetching the further facts that the selection asks for until it asks for none.
pub async fn settle(world: &World, snapshot: &mut QueueSnapshot) -> Selection {
    let mut open_is_read = false;
    for _ in 0..ROUNDS {
        let selection = select(snapshot);
        if selection.asks.is_empty() {
            return selection;
        }
        let mut asks = selection.asks;
        if asks.issues.len() > MOST_SINGLE_ISSUES && !open_is_read {
            open_is_read = read_open_issues(world, snapshot, &mut asks).await;
        }
        answer(world, snapshot, &asks).await;
    }
    tracing::error!(project = %world.project.name, "the selection did not come to an end");
    Selection { decisions: Vec::new(), asks: Asks::default() }
}

/// Reads the list of all open issues, and takes from the questions what it answers. Returns whether it was there to be read;
/// when it was not, the questions stay open for good.
async fn read_open_issues(world: &World, snapshot: &mut QueueSnapshot, asks: &mut Asks) -> bool {
    match world.forge.issues(StateFilter::Open, None).await {
        Ok(open) => {
            for issue in open.items {
                snapshot.issues.entry(issue.number).or_insert_with(|| fact_of(&issue));
            }
            asks.issues.retain(|number| !snapshot.issues.contains_key(number));
            true
        }
        Err(error) => {
            snapshot.issues.extend(asks.issues.drain(..).map(|number| (number, Known::unknown(error.to_string()))));
            false
        }
    }
}

async fn answer(world: &World, snapshot: &mut QueueSnapshot, asks: &Asks) {
    let (issues, links) = tokio::join!(
        stream::iter(asks.issues.clone())
            .map(|number| async move { (number, issue_fact(world, number).await) })
            .buffered(CONCURRENT)
            .collect::<Vec<_>>(),
        stream::iter(asks.links.clone())
            .map(|number| async move { (number, Known::from(world.forge.dependency_links(number).await)) })
            .buffered(CONCURRENT)
            .collect::<Vec<_>>(),
    );
    snapshot.issues.extend(issues);
    snapshot.links.extend(links);
}

async fn issue_fact(world: &World, number: IssueNumber) -> Known<IssueFact> {
    match world.forge.issue(number).await {
        Ok(issue) => fact_of(&issue),
        Err(ForgeError::NotFound { .. }) => Known::Known(IssueFact::Missing),
        Err(error) => Known::unknown(error.to_string()),
    }
}

fn fact_of(issue: &Issue) -> Known<IssueFact> {
    Known::Known(match issue.state {
        OpenOrClosed::Closed => IssueFact::Closed,
        OpenOrClosed::Open => IssueFact::Open { depends_on: written_dependencies(&issue.body, issue.number).numbers },
    })
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
