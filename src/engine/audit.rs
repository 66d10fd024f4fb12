//! The look at what a merge should have brought about: merged, closed, labels, branch, the primary branch's CI, mirrors. What
//! rig can repair it repairs once, and looks again. Deliberately absent: telling people, which the run does with what was found.

use super::{World, claim, dispatch, dispatch::DispatchError};
use crate::{
    config::settings::CiProvider,
    domain::{
        ci::CiVerdict,
        ids::{PullRequestNumber, Sha},
        issue::{Issue, OpenOrClosed},
        known::Known,
        pull_request::{PullRequest, Status, StatusState},
        run::{AuditFinding, End, IssueState, Run, Stage},
    },
};
use jiff::SignedDuration;
use std::time::Duration;

/// Longest wait for CI of the primary branch: shorter than the time after which people are told that a run does not get on.
const CI_WAIT: Duration = Duration::from_secs(20 * 60);
/// Time for the first check of the merge commit to show itself; many projects check pull requests only.
const FIRST_CHECK: SignedDuration = SignedDuration::from_mins(2);

/// Looks at everything. `None` while CI of the primary branch is awaited.
pub(super) async fn audit(
    world: &World,
    run: &Run,
    number: PullRequestNumber,
) -> Result<Option<Vec<AuditFinding>>, DispatchError> {
    let pull_request = world.forge.pull_request(number).await?;
    if !pull_request.merged {
        let words = format!("pull request {number} does not read back merged");
        return Ok(Some(vec![finding("merged", false, words)]));
    }
    let Some(primary) = primary_ci(world, run, &pull_request).await else { return Ok(None) };
    let merged = finding("merged", true, format!("pull request {number} is merged"));
    let mut findings = vec![merged, issue_closed(world, run).await?, labels_clean(world, run).await?];
    if run.policy.delete_branch {
        findings.push(branch_gone(world, run, &pull_request).await?);
    }
    findings.push(primary);
    findings.extend(mirrors(world).await?);
    Ok(Some(findings))
}

fn finding(item: &str, holds: bool, words: impl Into<String>) -> AuditFinding {
    AuditFinding { item: item.to_owned(), holds, words: words.into() }
}

async fn issue_closed(world: &World, run: &Run) -> Result<AuditFinding, DispatchError> {
    let is_open = |issue: &Issue| issue.state == OpenOrClosed::Open;
    if is_open(&world.forge.issue(run.issue).await?) {
        dispatch::close_issue(world, run).await?;
        if is_open(&world.forge.issue(run.issue).await?) {
            return Ok(finding("issue_closed", false, format!("issue {} is still open", run.issue)));
        }
    }
    Ok(finding("issue_closed", true, format!("issue {} is closed", run.issue)))
}

async fn labels_clean(world: &World, run: &Run) -> Result<AuditFinding, DispatchError> {
    let labels = &world.project.labels;
    let state = [&labels.backlog, &labels.in_progress, &labels.blocked, &labels.underspecified];
    let left = |issue: &Issue| -> Vec<String> {
        state.iter().filter(|label| issue.has_label(label)).map(|label| (**label).clone()).collect()
    };
    if !left(&world.forge.issue(run.issue).await?).is_empty() {
        claim::set_state(world, run.issue, IssueState::Done).await?;
        let still = left(&world.forge.issue(run.issue).await?);
        if !still.is_empty() {
            return Ok(finding("labels_clean", false, format!("the issue still carries {}", still.join(", "))));
        }
    }
    Ok(finding("labels_clean", true, "no state label is left"))
}

async fn branch_gone(world: &World, run: &Run, merged: &PullRequest) -> Result<AuditFinding, DispatchError> {
    let Some(branch) = &run.branch else { return Ok(finding("branch_gone", true, "there was no branch")) };
    if world.forge.branch_tip(branch.as_str()).await?.is_some_and(|tip| tip == merged.head) {
        dispatch::delete_branch(world, run).await?;
    }
    Ok(match world.forge.branch_tip(branch.as_str()).await? {
        None => finding("branch_gone", true, format!("branch {branch} is gone")),
        Some(tip) if tip == merged.head => finding("branch_gone", false, format!("branch {branch} is still there")),
        Some(tip) => {
            let words = format!("branch {branch} is at {}, which is more than what was merged, and stays", tip.short());
            finding("branch_gone", false, words)
        }
    })
}

async fn mirrors(world: &World) -> Result<Option<AuditFinding>, DispatchError> {
    if world.project.mirrors.is_empty() {
        return Ok(None);
    }
    super::mirrors::push(world).await?;
    let rows = world.store.mirrors(&world.project.name).await?;
    let behind: Vec<&str> = rows
        .iter()
        .filter(|row| world.project.mirrors.contains_key(&row.mirror) && !row.error.is_empty())
        .map(|row| row.mirror.as_str())
        .collect();
    Ok(Some(match behind.as_slice() {
        [] => finding(AuditFinding::MIRRORS, true, "every mirror has it"),
        _ => finding(AuditFinding::MIRRORS, false, format!("behind: mirror {}", behind.join(", "))),
    }))
}

/// Returns how CI stands at the merge commit; `None` while it is awaited.
async fn primary_ci(world: &World, run: &Run, merged: &PullRequest) -> Option<AuditFinding> {
    let of = |holds, words: String| Some(finding("primary_ci", holds, words));
    let branch = &world.project.primary_branch;
    let Some(commit) = merge_commit(run, merged) else {
        return of(true, "the forge names no merge commit, so its CI is not looked at".into());
    };
    if world.project.ci.provider == CiProvider::None {
        return of(true, format!("no CI is configured for {branch}"));
    }
    let waited = world.clock.now().duration_since(run.since);
    let state = match world.ci.runs_here() {
        true => run_here(world, &commit, &merged.head).await,
        false => state_of(&Known::from(world.forge.statuses(&commit).await)),
    };
    let at = format!("{branch} at {}", commit.short());
    match state {
        Primary::Green => of(true, format!("CI passed on {at}")),
        Primary::Red(what) => of(false, format!("CI fails on {at}: {what}")),
        Primary::Nothing if waited >= FIRST_CHECK => of(true, format!("no check has shown itself on {at}")),
        Primary::Pending(why) if waited.unsigned_abs() >= CI_WAIT.min(world.project.ci.timeout) => {
            of(false, format!("CI has given no verdict on {at} within its time: {why}"))
        }
        Primary::Nothing | Primary::Pending(_) => None,
    }
}

fn merge_commit(run: &Run, merged: &PullRequest) -> Option<Sha> {
    let journaled = match &run.stage {
        Stage::Finishing { end: End::Merged { commit } } => commit.clone(),
        _ => None,
    };
    merged.merge_commit.clone().or(journaled)
}

/// How CI stands on the primary branch.
#[derive(Debug, PartialEq, Eq)]
enum Primary {
    Green,
    Red(String),
    Pending(String),
    Nothing,
}

/// Where rig runs CI: the judged commit's verdict stands for the same files, and others are checked.
async fn run_here(world: &World, commit: &Sha, judged: &Sha) -> Primary {
    match world.workspace.same_files(commit, judged).await {
        Ok(true) => return Primary::Green,
        Ok(false) => {}
        Err(error) => return Primary::Pending(error.to_string()),
    }
    match world.ci.run(commit).await {
        Ok(CiVerdict::Green) => Primary::Green,
        Ok(CiVerdict::Red { steps }) => {
            Primary::Red(steps.into_iter().map(|step| step.name).collect::<Vec<_>>().join(", "))
        }
        Ok(CiVerdict::Broken { why } | CiVerdict::Held { why }) => Primary::Pending(why),
        Ok(CiVerdict::Pending { missing }) => Primary::Pending(missing.join(", ")),
        Err(error) => Primary::Pending(error.to_string()),
    }
}

/// Judges by whatever checks show themselves: those of a push may be others than those of a pull request.
fn state_of(statuses: &Known<Vec<Status>>) -> Primary {
    let list = match statuses {
        Known::Known(list) => list,
        Known::Unknown(why) => return Primary::Pending(why.clone()),
    };
    let named = |states: &[StatusState]| -> Vec<&str> {
        list.iter().filter(|one| states.contains(&one.state)).map(|one| one.context.as_str()).collect()
    };
    let red = named(&[StatusState::Failure, StatusState::Error]);
    if !red.is_empty() {
        return Primary::Red(red.join(", "));
    }
    let pending = named(&[StatusState::Pending, StatusState::Other]);
    match (pending.is_empty(), list.is_empty()) {
        (false, _) => Primary::Pending(pending.join(", ")),
        (true, true) => Primary::Nothing,
        (true, false) => Primary::Green,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(states: &[StatusState]) -> Known<Vec<Status>> {
        let status = |(at, state): (usize, &StatusState)| Status {
            context: format!("ci/{at}"),
            state: *state,
            description: String::new(),
            target_url: String::new(),
            changed_at: None,
        };
        Known::Known(states.iter().enumerate().map(status).collect())
    }

    #[test]
    fn one_failing_check_makes_the_primary_branch_red_and_one_pending_is_waited_for() {
        use StatusState::{Error, Failure, Pending, Skipped, Success, Warning};
        assert_eq!(state_of(&statuses(&[])), Primary::Nothing);
        assert_eq!(state_of(&statuses(&[Success, Skipped, Warning])), Primary::Green);
        assert_eq!(state_of(&statuses(&[Success, Pending])), Primary::Pending("ci/1".into()));
        assert_eq!(state_of(&statuses(&[Pending, Failure, Error])), Primary::Red("ci/1, ci/2".into()));
        assert_eq!(state_of(&Known::unknown("down")), Primary::Pending("down".into()));
    }
}
