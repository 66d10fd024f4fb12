//! The merge of an accepted pull request for which no run is begun: a chore, or one whose issue is closed or not there. What
//! follows the merge is done here too. That it is begun is written down first, so that the next tick goes on where one has died.
//! Deliberately absent: mirrors, with which every tick catches up.

use super::{World, claim, dispatch, dispatch::DispatchError, survey, tick::Report, tidy};
use crate::{
    domain::{
        code::Code,
        ids::{IssueNumber, PullRequestNumber},
        issue::{Issue, OpenOrClosed},
        pull_request::PullRequest,
        run::IssueState,
    },
    ports::{
        forge::{ForgeError, ForgeResult},
        store::{DecisionRow, StoreResult},
    },
};

/// Words of the decision that a merge was begun.
const BEGUN: &str = "the tick merges it and does what follows";

/// How the issue of an accepted pull request stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ItsIssue {
    /// A run merges the pull request, and does what follows.
    Open,
    /// Nothing is left of it: closed, a pull request itself, or not there at two ticks.
    Over,
    /// The forge has no such issue. One wrong answer looks the same.
    Missing,
}

/// Looks how the issue of an accepted pull request stands.
pub(super) async fn look(
    world: &World,
    issue: IssueNumber,
    pull_request: PullRequestNumber,
) -> Result<ItsIssue, DispatchError> {
    match world.forge.issue(issue).await {
        Ok(found) if is_open(&found) => Ok(ItsIssue::Open),
        Ok(_) => Ok(ItsIssue::Over),
        Err(ForgeError::NotFound { .. }) => {
            let last = world.store.decisions(&world.project.name, Some(pull_request.0), 1).await?;
            let again = last.first().is_some_and(|last| last.words == missing(issue));
            Ok(if again { ItsIssue::Over } else { ItsIssue::Missing })
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns what is decided about a pull request whose issue the forge does not have.
pub(super) fn missing(issue: IssueNumber) -> String {
    format!("the forge has no issue {issue}; it is merged without one when the next tick finds the same")
}

fn is_open(issue: &Issue) -> bool {
    issue.state == OpenOrClosed::Open && !issue.is_pull_request
}

/// Writes down that a pull request is about to be merged.
pub(super) async fn begin(world: &World, number: PullRequestNumber) -> StoreResult<()> {
    let decision = DecisionRow {
        project: world.project.name.clone(),
        subject_kind: "pull_request".to_owned(),
        subject: number.0,
        code: Code::Merging.name().to_owned(),
        words: BEGUN.to_owned(),
        at: world.clock.now(),
    };
    world.store.record_decisions(&[decision]).await
}

/// Notes that nobody knows yet how far it came: the next tick looks.
pub(super) fn unfinished(number: PullRequestNumber, why: &dyn std::fmt::Display, report: &mut Report) {
    report.problem(format!("pull request {number}: {why}"));
    report.pull_request(number, Code::Merging, BEGUN);
}

/// Goes on with merges that an earlier tick has begun.
pub(super) async fn go_on(world: &World, report: &mut Report) -> StoreResult<()> {
    let begun = world.store.standing_decisions(&world.project.name, Code::Merging.name()).await?;
    for row in begun {
        let number = PullRequestNumber(row.subject);
        if let Err(error) = go_on_with(world, number, report).await {
            unfinished(number, &error, report);
        }
    }
    Ok(())
}

async fn go_on_with(world: &World, number: PullRequestNumber, report: &mut Report) -> Result<(), DispatchError> {
    let pull_request = world.forge.pull_request(number).await?;
    if pull_request.merged {
        finish(world, &pull_request, report).await?;
        report.pull_request(number, Code::Merged, "merged by an earlier tick; what follows is done");
    } else if pull_request.state == OpenOrClosed::Closed {
        report.pull_request(number, Code::Changed, "it was closed before it was merged");
    }
    // One that is open is judged anew, like all others.
    Ok(())
}

/// Does what follows a merge that was read back. Every step is safe twice.
pub(super) async fn finish(
    world: &World,
    pull_request: &PullRequest,
    report: &mut Report,
) -> Result<(), DispatchError> {
    let is_own = pull_request.author.is(&world.project.forge.bot);
    if let Some(issue) = survey::issue_of(pull_request) {
        let settled = settle(world, issue).await;
        tell_refusal(
            settled,
            &format!("pull request {} is merged, and issue {issue} is not settled", pull_request.number),
            report,
        )?;
        if is_own && let Err(error) = tidy::remove_worktree(world, issue).await {
            tracing::warn!(issue = issue.0, %error, "the worktree stays for a later tick");
        }
    }
    // Last: what the branch alone has is found while the branch is there.
    if let Some(branch) = pull_request.head_branch.as_ref().filter(|_| is_own && world.project.merge.delete_branch) {
        let deleted = dispatch::delete_merged(world, branch, pull_request.number).await;
        tell_refusal(deleted, &format!("branch {branch} is merged, and stays"), report)?;
    }
    Ok(())
}

/// Closes the issue unless the forge has done so, and takes its state labels off, unless a run leads it.
async fn settle(world: &World, number: IssueNumber) -> ForgeResult<()> {
    let issue = match world.forge.issue(number).await {
        Err(ForgeError::NotFound { .. }) => return Ok(()),
        found => found?,
    };
    if issue.is_pull_request {
        return Ok(());
    }
    if is_open(&issue) {
        world.forge.close_issue(number).await?;
    }
    let labels = &world.project.labels;
    let state = [&labels.backlog, &labels.in_progress, &labels.blocked, &labels.underspecified];
    let is_led = world.open_runs().await.is_ok_and(|open| open.iter().any(|row| row.issue == number));
    if !is_led && state.iter().any(|label| issue.has_label(label)) {
        claim::set_state(world, number, IssueState::Done).await?;
    }
    Ok(())
}

/// What the forge refuses for good is told once and not tried for ever; only what may pass is left to the next tick.
fn tell_refusal<E: Into<DispatchError>>(
    result: Result<(), E>,
    what: &str,
    report: &mut Report,
) -> Result<(), DispatchError> {
    match result.map_err(Into::into) {
        Err(error) if error.is_transient() || error.is_refused_token() => Err(error),
        Err(error) => {
            tracing::error!(%error, "{what}");
            report.problem(format!("{what}: {error}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
