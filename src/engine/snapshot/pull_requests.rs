//! The pull requests that rig may merge, each with what the gate needs of it.

use crate::{
    domain::{
        ci::CiVerdict,
        gate::{Acceptance, Changes, Gate, NotReady, needs_no_ci},
        ids::{IssueNumber, PullRequestNumber, Sha},
        issue::OpenOrClosed,
        known::Known,
        pull_request::{PullRequest, Review},
        run::Run,
    },
    engine::{World, checks, gate, resume, survey},
    ports::store::{RunRow, StoreError},
};
use futures::{StreamExt, stream};

/// Pull requests that are asked about at once.
const CONCURRENT: usize = 12;

/// An open pull request that rig may merge.
#[derive(Debug, Clone)]
pub struct PullRequestFacts {
    pub pull_request: PullRequest,
    /// The issue that it is for; none where rig merges it without a run.
    pub issue: Option<IssueNumber>,
    /// The open run that leads it.
    pub led_by: Option<RunRow>,
    /// The commit at which rig itself has seen CI pass; read only where rig runs CI.
    pub journaled_green: Known<Option<Sha>>,
    pub reviews: Known<Vec<Review>>,
    /// It waits for a check on this machine that no run makes.
    pub waits_for_check: bool,
    /// What people have accepted by their word to rig; read only where that is what is missing.
    pub accepted: Vec<Acceptance>,
    /// Asked for only where everything else holds; `None` where it was not.
    pub ci: Option<Known<(Sha, CiVerdict)>>,
    /// Asked for last of all, because git has to fetch for it; `None` where it was not.
    pub changes: Option<Known<Changes>>,
}

impl PullRequestFacts {
    /// Asks the gate. Where CI or git were not asked, the answer is what else is missing.
    pub fn judged(&self, world: &World) -> Gate {
        let green = || Known::Known((self.pull_request.head.clone(), CiVerdict::Green));
        let subject = gate::Subject {
            pull_request: self.pull_request.clone(),
            reviews: self.reviews.clone(),
            issue: self.issue,
            journaled_green: None,
            accepted: self.accepted.clone(),
        };
        let changes = self.changes.clone().unwrap_or_else(|| Known::Known(Changes::default()));
        crate::domain::gate::gate(&gate::assemble(world, subject, self.ci.clone().unwrap_or_else(green), changes))
    }

    /// Returns whether a person's word to rig could make it ready.
    fn wants_person(&self, world: &World) -> bool {
        matches!(self.judged(world), Gate::NotReady(reasons) if reasons.iter().any(|reason| matches!(reason, NotReady::PersonMissing { .. })))
    }

    /// Returns whether nothing that is known holds it back.
    fn is_ready_so_far(&self, world: &World) -> bool {
        matches!(self.judged(world), Gate::Ready(_))
    }
}

/// Gathers the facts: first the reviews of all, then CI of those that lack nothing else, then what these change.
pub(super) async fn gather(world: &World, open_runs: &[RunRow], list: Vec<PullRequest>) -> Vec<PullRequestFacts> {
    let ours = list.into_iter().filter(|pull_request| may_merge(world, pull_request));
    let mut gathered: Vec<PullRequestFacts> = stream::iter(ours)
        .map(|pull_request| gather_one(world, open_runs, pull_request))
        .buffered(CONCURRENT)
        .collect()
        .await;
    gathered.sort_by_key(|facts| facts.pull_request.number);
    if !world.project.ci.docs_only_paths.is_empty() {
        ask_changes(world, &mut gathered).await;
    }
    let needs_ci = |facts: &PullRequestFacts| match &facts.changes {
        Some(Known::Known(changes)) => !needs_no_ci(changes, &world.project.ci.docs_only_paths),
        _ => true,
    };
    let lacking = gathered.iter_mut().filter(|facts| needs_ci(facts) && facts.is_ready_so_far(world)).collect();
    ask_ci(world, lacking).await;
    ask_changes(world, &mut gathered).await;
    for facts in gathered.iter_mut().filter(|facts| facts.wants_person(world)) {
        // What cannot be read accepts nothing.
        facts.accepted = last_run(world, facts.led_by.as_ref(), facts.issue)
            .await
            .map(|run| run.map(|run| run.accepted).unwrap_or_default())
            .unwrap_or_default();
    }
    gathered
}

/// rig merges its own pull requests, and those of the chore branches of configured authors.
fn may_merge(world: &World, pull_request: &PullRequest) -> bool {
    survey::is_ours(world, pull_request) || is_chore(world, pull_request)
}

/// Returns whether an open pull request is merged by ticks alone: a `chore/*` branch of one of `forge.chore_authors`, and the
/// bot's own that is for no issue. Every other one of the bot's has, or gets, a run.
pub fn is_without_run(world: &World, pull_request: &PullRequest) -> bool {
    let for_issue = survey::is_ours(world, pull_request) && survey::issue_of(pull_request).is_some();
    pull_request.state == OpenOrClosed::Open && may_merge(world, pull_request) && !for_issue
}

/// Returns the issue that a pull request is for, where a run has, or gets, to see to it.
pub fn issue_of(world: &World, pull_request: &PullRequest) -> Option<IssueNumber> {
    survey::issue_of(pull_request).filter(|_| !is_without_run(world, pull_request))
}

fn is_chore(world: &World, pull_request: &PullRequest) -> bool {
    pull_request.same_repository
        && pull_request.head_branch.as_ref().is_some_and(|branch| branch.as_str().starts_with("chore/"))
        && world.project.forge.chore_authors.iter().any(|author| author.is(&pull_request.author))
}

/// Returns the number of a pull request that rig may not merge, with the reason.
pub(super) fn not_ours(world: &World, pull_request: &PullRequest) -> Option<(PullRequestNumber, String)> {
    if may_merge(world, pull_request) {
        return None;
    }
    let author = &pull_request.author;
    let why = match author.is(&world.project.forge.bot) {
        true => "it comes from another repository; rig merges only branches of this one".to_owned(),
        false => format!("it is by {author}; rig merges its own, and `chore/*` branches of `chore_authors`"),
    };
    Some((pull_request.number, why))
}

async fn gather_one(world: &World, open_runs: &[RunRow], pull_request: PullRequest) -> PullRequestFacts {
    let led_by = open_runs.iter().find(|row| row.pull_request == Some(pull_request.number)).cloned();
    // The run's word first: what it has adopted need not say of any issue that it is for it.
    let issue = led_by.as_ref().map(|row| row.issue).or_else(|| issue_of(world, &pull_request));
    let (journaled_green, reviews, waits_for_check) = tokio::join!(
        journaled_green(world, led_by.as_ref(), issue),
        gate::reviews(world, &pull_request),
        checks::is_waiting(world, &pull_request, open_runs),
    );
    let waits_for_check = waits_for_check.unwrap_or_else(|error| {
        tracing::warn!(pull_request = pull_request.number.0, %error, "what CI has found cannot be read");
        false
    });
    let (journaled_green, reviews) = (Known::from(journaled_green), Known::from(reviews));
    PullRequestFacts {
        pull_request,
        issue,
        led_by,
        journaled_green,
        reviews,
        waits_for_check,
        accepted: Vec::new(),
        ci: None,
        changes: None,
    }
}

/// Asks git what those change that lack nothing else. One after the other: git fetches under a lock.
async fn ask_changes(world: &World, gathered: &mut [PullRequestFacts]) {
    for facts in gathered.iter_mut().filter(|facts| facts.changes.is_none()) {
        if facts.is_ready_so_far(world) {
            facts.changes = Some(gate::changes(world, &facts.pull_request.head).await);
        }
    }
}

async fn ask_ci(world: &World, lacking: Vec<&mut PullRequestFacts>) {
    if world.ci.runs_here() {
        for facts in lacking {
            let green = facts.journaled_green.known().and_then(Option::as_ref);
            facts.ci = Some(gate::ci_verdict(world, &facts.pull_request.head, green).await);
        }
        return;
    }
    let heads: Vec<Sha> = lacking.iter().map(|facts| facts.pull_request.head.clone()).collect();
    let verdicts = world.ci.run_all(&heads).await;
    for ((facts, head), verdict) in lacking.into_iter().zip(heads).zip(verdicts) {
        facts.ci = Some(Known::from(verdict).map(|verdict| (head, verdict)));
    }
}

/// Returns where rig has seen CI pass, by the run that leads the pull request or the last one of its issue.
async fn journaled_green(
    world: &World,
    led_by: Option<&RunRow>,
    issue: Option<IssueNumber>,
) -> Result<Option<Sha>, StoreError> {
    if !world.ci.runs_here() {
        return Ok(None);
    }
    Ok(last_run(world, led_by, issue).await?.and_then(|run| run.green_at))
}

/// Returns the run that leads a pull request, or the last one of its issue.
async fn last_run(
    world: &World,
    led_by: Option<&RunRow>,
    issue: Option<IssueNumber>,
) -> Result<Option<Run>, StoreError> {
    let run = match (led_by, issue) {
        (Some(row), _) => Some(row.run.clone()),
        (None, Some(issue)) => world.store.latest_run(&world.project.name, issue).await?.map(|row| row.run),
        (None, None) => None,
    };
    match run {
        Some(run) => resume::load(world, &run).await.map(Some),
        None => Ok(None),
    }
}
