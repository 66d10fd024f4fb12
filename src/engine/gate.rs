//! Gathers what the gate judges: the pull request, CI at its head, its reviews, what it changes. Judging is the domain's.

use super::{World, checks, resume, snapshot, survey};
use crate::{
    domain::{
        ci::CiVerdict,
        gate::{self, Acceptance, Changes, Finding, Gate, GatePolicy, GateSnapshot, marker_review, needs_no_ci},
        ids::{IssueNumber, PullRequestNumber, Sha},
        known::Known,
        pull_request::{PullRequest, Review},
    },
    ports::{
        forge::{ForgeError, ForgeResult, StateFilter},
        store::StoreError,
    },
};
use jiff::Timestamp;

/// What is known of a pull request before CI and git are asked.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    pub pull_request: PullRequest,
    pub reviews: Known<Vec<Review>>,
    pub issue: Option<IssueNumber>,
    /// Commit at which rig itself saw CI pass.
    pub journaled_green: Option<&'a Sha>,
    pub accepted: Vec<Acceptance>,
}

/// Judges a pull request, and asks for no more than it takes: CI only where all else holds so far, git last.
pub async fn judge(world: &World, subject: Subject<'_>) -> Gate {
    let head = subject.pull_request.head.clone();
    let green = subject.journaled_green;
    let assumed = Known::Known((head.clone(), CiVerdict::Green));
    let mut snapshot = assemble(world, subject.clone(), assumed, Known::Known(Changes::default()));
    if let no @ Gate::NotReady(_) = gate::gate(&snapshot) {
        return no;
    }
    let docs_only_paths = &world.project.ci.docs_only_paths;
    if !docs_only_paths.is_empty() {
        snapshot.changes = changes(world, &head).await;
        if matches!(&snapshot.changes, Known::Known(changes) if needs_no_ci(changes, docs_only_paths)) {
            return gate::gate(&snapshot);
        }
    }
    snapshot.ci = ci_verdict(world, &head, green).await;
    if let no @ Gate::NotReady(_) = gate::gate(&snapshot) {
        return no;
    }
    if docs_only_paths.is_empty() {
        snapshot.changes = changes(world, &head).await;
    }
    gate::gate(&snapshot)
}

/// Gathers everything about a pull request, for people.
pub async fn everything(world: &World, subject: Subject<'_>) -> GateSnapshot {
    let head = subject.pull_request.head.clone();
    let (changes, ci) = tokio::join!(changes(world, &head), ci_verdict(world, &head, subject.journaled_green));
    assemble(world, subject, ci, changes)
}

/// What the gate says of a pull request, condition by condition.
#[derive(Debug, Clone)]
pub struct Inspected {
    pub pull_request: PullRequest,
    pub issue: Option<IssueNumber>,
    pub findings: Vec<Finding>,
}

#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Inspects a pull request by its own number or by that of its issue. `None` when the issue has none of rig's own.
pub async fn inspect(world: &World, number: u64) -> Result<Option<Inspected>, InspectError> {
    let Some(pull_request) = pull_request_of(world, number).await? else { return Ok(None) };
    let open = world.open_runs().await?;
    let led_by = open.iter().find(|row| row.pull_request == Some(pull_request.number));
    let issue = led_by.map(|row| row.issue).or_else(|| snapshot::issue_of(world, &pull_request));
    let run = match issue {
        Some(issue) => world.store.latest_run(&world.project.name, issue).await?,
        None => None,
    };
    let run = match run {
        Some(row) => Some(resume::load(world, &row.run).await?),
        None => None,
    };
    let subject = Subject {
        reviews: reviews(world, &pull_request).await.into(),
        pull_request: pull_request.clone(),
        issue,
        journaled_green: run.as_ref().and_then(|run| run.green_at.as_ref()),
        accepted: run.as_ref().map(|run| run.accepted.clone()).unwrap_or_default(),
    };
    let findings = gate::findings(&everything(world, subject).await);
    Ok(Some(Inspected { pull_request, issue, findings }))
}

async fn pull_request_of(world: &World, number: u64) -> Result<Option<PullRequest>, InspectError> {
    match world.forge.pull_request(PullRequestNumber(number)).await {
        Ok(pull_request) => return Ok(Some(pull_request)),
        Err(ForgeError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    // Asked only to tell an issue without a pull request from a number that nothing has.
    let issue = world.forge.issue(IssueNumber(number)).await?.number;
    if let Some(row) = world.store.latest_run(&world.project.name, issue).await?
        && let Some(pull_request) = row.pull_request
    {
        return Ok(Some(world.forge.pull_request(pull_request).await?));
    }
    let open = world.forge.pull_requests(StateFilter::Open).await?;
    Ok(open
        .items
        .into_iter()
        .find(|candidate| survey::is_ours(world, candidate) && survey::issue_of(candidate) == Some(issue)))
}

/// Reads the reviews of a pull request: the forge's own, and marker comments where the project counts them.
pub async fn reviews(world: &World, pull_request: &PullRequest) -> ForgeResult<Vec<Review>> {
    let mut reviews = world.forge.reviews(pull_request.number).await?;
    if world.project.review.marker_comments {
        let comments = world.forge.comments(pull_request.number.0).await?;
        let counted = comments.iter().filter_map(|comment| marker_review(comment, &world.project.review.reviewers));
        let counted: Vec<Review> = counted.collect();
        // What stands for a time that cannot be read would make the newest verdict the oldest.
        if counted.iter().any(|review| review.submitted_at == Timestamp::UNIX_EPOCH) {
            let request = format!("the comments of pull request {}", pull_request.number);
            return Err(ForgeError::Garbled { request, message: "a verdict has no readable time".into() });
        }
        reviews.extend(counted);
        reviews.sort_by_key(|review| (review.submitted_at, review.id));
    }
    Ok(reviews)
}

/// Returns whether a commit needs no CI by the paths that it changes. What cannot be told needs CI.
pub async fn is_docs_only(world: &World, head: &Sha) -> bool {
    let globs = &world.project.ci.docs_only_paths;
    !globs.is_empty() && matches!(changes(world, head).await, Known::Known(changes) if needs_no_ci(&changes, globs))
}

/// Returns what a commit changes, by git.
pub async fn changes(world: &World, head: &Sha) -> Known<Changes> {
    world.workspace.changes(head).await.into()
}

/// Returns CI's verdict at a commit: where rig runs CI itself that of the journal, or of the store for what no run leads; else
/// what the forge says now.
pub async fn ci_verdict(world: &World, head: &Sha, journaled_green: Option<&Sha>) -> Known<(Sha, CiVerdict)> {
    if world.ci.runs_here() {
        if journaled_green == Some(head) {
            return Known::Known((head.clone(), CiVerdict::Green));
        }
        return match checks::known(world, head).await {
            Ok(Some(row)) => Known::Known((row.head, row.verdict)),
            Ok(None) => Known::unknown(format!("rig has not seen CI pass at {}", head.short())),
            Err(error) => Known::unknown(error.to_string()),
        };
    }
    match world.ci.run(head).await {
        Ok(verdict) => Known::Known((head.clone(), verdict)),
        Err(error) => Known::unknown(error.to_string()),
    }
}

/// Puts together what the gate judges.
pub fn assemble(
    world: &World,
    subject: Subject<'_>,
    ci: Known<(Sha, CiVerdict)>,
    changes: Known<Changes>,
) -> GateSnapshot {
    let project = &world.project;
    GateSnapshot {
        pull_request: subject.pull_request,
        ci,
        reviews: subject.reviews,
        changes,
        accepted: subject.accepted,
        policy: GatePolicy {
            primary_branch: project.primary_branch.clone(),
            required_approvals: project.merge.required_approvals,
            reviewers: project.review.reviewers.clone(),
            must_close: subject.issue.filter(|_| project.merge.require_closes),
            require_code_owners: project.merge.require_code_owners,
            protected_paths: project.merge.protected_paths.clone(),
            ci_files: world.ci_files.clone(),
            docs_only_paths: project.ci.docs_only_paths.clone(),
            bots: project.review.bots.clone(),
            bot: project.forge.bot.clone(),
        },
    }
}
