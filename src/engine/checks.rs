//! Local CI for what no run leads: the chore pull requests that rig merges by itself. A process of its own checks them one after
//! the other, under a lock, so that no commit is ever checked twice at once; the store has the verdicts. One that dies leaves no
//! verdict, so that the next tick starts another. Deliberately absent: believing the status that was posted.

use super::{World, ci, comments, snapshot};
use crate::{
    domain::{
        ci::{
            CiVerdict,
            recheck::{Last, is_due},
        },
        ids::{PullRequestNumber, Sha},
        pull_request::PullRequest,
    },
    ports::{
        ci::CiError,
        forge::{ForgeError, StateFilter},
        lock::{Held, LockError, LockName},
        store::{CheckRow, RunRow, StoreError, StoreResult},
    },
};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Checks that one process makes at most; the next tick starts another.
const MOST_CHECKS: usize = 50;
/// Breaks in a row that people are told of; with the pauses between them the fourth comes after half an hour.
const TOLD_AT: u32 = 4;

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The pull request is none that this is for, in words.
    #[error("{0}")]
    NotForThis(String),
}

/// Returns what is known of a commit by the project's present command.
pub async fn known(world: &World, head: &Sha) -> StoreResult<Option<CheckRow>> {
    world.store.check(&world.repository(), head, &command_digest(world)).await
}

/// Returns whether a pull request waits for a check that nobody but this makes.
pub async fn is_waiting(world: &World, pull_request: &PullRequest, open_runs: &[RunRow]) -> StoreResult<bool> {
    let led = open_runs.iter().any(|row| row.pull_request == Some(pull_request.number));
    if led || pull_request.draft || !is_for_this(world, pull_request) {
        return Ok(false);
    }
    let known = known(world, &pull_request.head).await?;
    let last = known.as_ref().map(|row| Last { verdict: &row.verdict, breaks: row.breaks, at: row.at });
    Ok(is_due(last, world.clock.now()) && !ci::is_held(world, &name_of(world, &pull_request.head)))
}

/// Checks everything that waits, one after the other, and what comes meanwhile. Returns what was found.
pub async fn check_waiting(world: &World) -> Result<Vec<CheckRow>, CheckError> {
    let checking = take_turn(world).await?;
    let mut found = Vec::new();
    while found.len() < MOST_CHECKS && world.machine.is_switched_on() {
        let Some(next) = next_waiting(world).await? else { break };
        found.push(check(world, &next, checking.as_ref()).await?);
    }
    Ok(found)
}

/// Checks one pull request anew, whatever is known of it.
pub async fn check_again(world: &World, number: PullRequestNumber) -> Result<CheckRow, CheckError> {
    let pull_request = world.forge.pull_request(number).await?;
    if !is_for_this(world, &pull_request) {
        let words = match world.ci.runs_here() {
            true => format!("pull request {number} is none that rig merges without a run"),
            false => "CI does not run on this machine (`ci.provider`)".to_owned(),
        };
        return Err(CheckError::NotForThis(words));
    }
    let checking = take_turn(world).await?;
    check(world, &pull_request, checking.as_ref()).await
}

async fn take_turn(world: &World) -> Result<Box<dyn Held>, LockError> {
    world.locks.take(LockName::Checks, Duration::ZERO).await
}

/// A run sees to the CI of its own pull request.
fn is_for_this(world: &World, pull_request: &PullRequest) -> bool {
    world.ci.runs_here()
        && snapshot::is_without_run(world, pull_request)
        && pull_request.base_branch == world.project.primary_branch
}

async fn next_waiting(world: &World) -> Result<Option<PullRequest>, CheckError> {
    let open_runs = world.open_runs().await?;
    let mut open = world.forge.pull_requests(StateFilter::Open).await?.items;
    open.sort_by_key(|pull_request| pull_request.number);
    for pull_request in open {
        if is_waiting(world, &pull_request, &open_runs).await? {
            return Ok(Some(pull_request));
        }
    }
    Ok(None)
}

/// Checks one commit and keeps what was found. The caller holds the lock.
pub async fn check(world: &World, pull_request: &PullRequest, _held: &dyn Held) -> Result<CheckRow, CheckError> {
    let head = &pull_request.head;
    let before = known(world, head).await?;
    tracing::info!(pull_request = pull_request.number.0, commit = head.short(), "local CI begins");
    let verdict = match ci::ask(world, head, pull_request.number.0).await {
        Ok(verdict) => verdict,
        Err(CiError { message }) => CiVerdict::Broken { why: message },
    };
    ci::note(world, &name_of(world, head), &verdict);
    let breaks = match verdict {
        CiVerdict::Green | CiVerdict::Red { .. } => 0,
        _ => before.map_or(0, |row| row.breaks).saturating_add(1),
    };
    let row = CheckRow {
        repository: world.repository(),
        head: head.clone(),
        command: command_digest(world),
        project: world.project.name.clone(),
        pull_request: pull_request.number,
        verdict,
        breaks,
        at: world.clock.now(),
    };
    world.store.record_check(&row).await?;
    if let CiVerdict::Broken { why } = &row.verdict
        && row.breaks >= TOLD_AT
    {
        say_broken(world, &row, why).await;
    }
    tracing::info!(pull_request = pull_request.number.0, commit = head.short(), breaks, "local CI has ended");
    Ok(row)
}

/// Says on the pull request, once for each commit, that this machine cannot check it. What the forge does not take now is said
/// after the next break.
async fn say_broken(world: &World, row: &CheckRow, why: &str) {
    let (head, number) = (row.head.short(), row.pull_request.0);
    let body = format!(
        "CI on this machine could not judge {head} in {} tries: {why}. It is tried again within the hour; `rig logs {number} --ci` \
         shows its log, and `rig dev check {number}` tries at once.",
        row.breaks
    );
    let key = format!("check-broken {}", row.head);
    if let Err(error) = comments::post_once(world, number, &key, &body).await {
        tracing::warn!(%error, pull_request = number, "that CI breaks again and again is not said there yet");
    }
}

/// Names a check among all of the host.
fn name_of(world: &World, head: &Sha) -> String {
    format!("check-{}-{}", world.root_id, head)
}

/// A verdict is that of one command: another one begins anew.
fn command_digest(world: &World) -> String {
    Sha256::digest(&world.project.ci.command).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
