//! Carries out what a run ordered. Every result is an event for the run; nothing here decides what it means.

use super::{
    World, audit, ci, claim, comments,
    driver::keep_screen,
    merge, mirrors, notices,
    observe::{self, Seen},
    rebase, session, survey,
};
use crate::{
    domain::{
        ci::CiVerdict,
        ids::{BranchName, EffectId, PullRequestNumber},
        issue::OpenOrClosed,
        prompts,
        run::{Effect, Event, IssueState, Run, Stage},
    },
    ports::{
        ci::CiError,
        forge::{Created, ForgeError, ForgeResult, NewPullRequest, StateFilter},
        lock::{LockError, LockName},
        run_files::RunFiles,
        session::SessionError,
        store::StoreError,
        workspace::WorkspaceError,
    },
};
use std::time::Duration;

/// Longest wait for another process that claims in the same repository.
const DISPATCH_WAIT: Duration = Duration::from_secs(20);
/// Time after which a branch that is not pushed is looked at again, before the agent is told.
const PUSH_UNDER_WAY: Duration = Duration::from_secs(2);
/// Lines of the screen in a diagnosis.
const DIAGNOSIS_LINES: usize = 50;
/// Lines above those that are looked at too: a secret may begin there.
const LINES_ABOVE: usize = 10;

#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Start(#[from] session::StartError),
    #[error(transparent)]
    Merge(#[from] merge::MergeError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Ci(#[from] CiError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DispatchError {
    /// Returns whether the forge does not know the token (401).
    pub fn is_refused_token(&self) -> bool {
        let refused = |error: &ForgeError| matches!(error, ForgeError::Unauthorized { .. });
        match self {
            Self::Forge(error) | Self::Start(session::StartError::Forge(error)) => refused(error),
            Self::Merge(merge::MergeError::Forge(error)) => refused(error),
            _ => false,
        }
    }

    /// Returns whether the same may succeed later without anyone's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Forge(error) => error.is_transient(),
            Self::Workspace(error) => error.is_transient(),
            Self::Session(SessionError::Failed { .. }) => true,
            Self::Session(SessionError::Unusable { .. }) => false,
            Self::Start(error) => error.is_transient(),
            Self::Merge(error) => error.is_transient(),
            Self::Lock(LockError::Held { .. }) => true,
            Self::Lock(LockError::Failed { .. }) => false,
            Self::Ci(_) | Self::Store(_) => true,
        }
    }
}

/// Carries out one order of a run. `None` means that the answer is not there yet and the order stays pending.
pub async fn carry_out(
    world: &World,
    run: &Run,
    files: &dyn RunFiles,
    id: &EffectId,
    effect: &Effect,
) -> Result<Option<Seen>, DispatchError> {
    let event = match effect {
        Effect::ConfirmClaim => {
            let dispatch = world.locks.take(LockName::Dispatch, DISPATCH_WAIT).await?;
            match claim::confirm(world, run, dispatch.as_ref()).await? {
                // The order stays, and is carried out again once the journal has this.
                event @ Event::EarlierClaimsDead { .. } => return Ok(Some(Seen::new(event))),
                event => event,
            }
        }
        Effect::SurveyPriorWork => survey::survey(world, run).await?,
        Effect::StartSession { attempt, resume } => {
            if let Some(until) = world.store.usage_limit(world.clock.now()).await? {
                return Ok(Some(Seen::new(Event::UsagePaused { until })));
            }
            let session::Started { told, not_copied } = session::start(world, run, files, *attempt, *resume).await?;
            Event::SessionStarted { attempt: *attempt, told, boot: world.machine.this_process().boot_id, not_copied }
        }
        Effect::InspectBranch { phase } => {
            let Some(branch) = &run.branch else { return Ok(Some(failed(id, "the run has no branch"))) };
            let mut state = world.workspace.inspect(run.issue, branch).await?;
            if state.ahead > 0 && state.remote.as_ref() != Some(&state.local) {
                // A push that is under way ends in a moment, and an agent that is told to push what it pushes is confused.
                tokio::time::sleep(PUSH_UNDER_WAY).await;
                state = world.workspace.inspect(run.issue, branch).await?;
            }
            world.workspace.collect(run.issue, branch).await?;
            Event::BranchInspected {
                phase: *phase,
                local: state.local,
                remote: state.remote,
                base: state.base,
                ahead: state.ahead,
                uncommitted: state.uncommitted,
            }
        }
        Effect::OpenPullRequest { .. } => open_pull_request(world, run, files).await?,
        Effect::RunCi { head, .. } => {
            let Some(verdict) = ci::verdict(world, run, head).await? else { return Ok(None) };
            let verdict = verdict.after(world.clock.now().duration_since(run.since));
            // A person has been asked already, and is not asked again.
            let still_held = matches!(verdict, CiVerdict::Held { .. }) && matches!(run.stage, Stage::Escalated { .. });
            if matches!(verdict, CiVerdict::Pending { .. }) || still_held {
                return Ok(None);
            }
            Event::CiFinished { head: head.clone(), verdict }
        }
        Effect::VerifyMerged => verify_merged(world, run).await?,
        Effect::Merge { pull_request, head } => {
            let wanted = merge::Wanted {
                pull_request: *pull_request,
                head,
                issue: Some(run.issue),
                is_led: true,
                journaled_green: run.green_at.as_ref(),
                accepted: &run.accepted,
            };
            merge::judge_and_merge(world, &wanted).await?
        }
        Effect::Rebase { head, how } => rebase::bring_up_to_date(world, run, head, *how).await?,
        Effect::Audit { pull_request } => match audit::audit(world, run, *pull_request).await? {
            Some(findings) => Event::MergeAudited { findings },
            None => return Ok(None),
        },
        Effect::SetState { state } => {
            claim::set_state(world, run.issue, *state).await?;
            if matches!(run.stage, Stage::Finishing { .. }) {
                if *state == IssueState::Backlog {
                    claim::unassign(world, run.issue).await?;
                }
                claim::withdraw(world, run).await?;
            }
            Event::EffectDone
        }
        Effect::Comment { body } => {
            comments::post_once(world, run.issue.0, &id.to_string(), &notices::addressed(world, body)).await?;
            Event::EffectDone
        }
        Effect::Diagnose { why } => {
            diagnose(world, run, id, why).await?;
            Event::EffectDone
        }
        Effect::CloseIssue => {
            close_issue(world, run).await?;
            Event::EffectDone
        }
        Effect::PushMirrors => {
            mirrors::push(world).await?;
            Event::EffectDone
        }
        Effect::DeleteBranch => {
            delete_branch(world, run).await?;
            Event::EffectDone
        }
        Effect::EndSession => {
            keep_screen(world, run, files).await;
            world.sessions.end(&session::name_of(run)).await?;
            Event::EffectDone
        }
        Effect::RemoveWorkspace => {
            if let Some(branch) = &run.branch {
                world.workspace.remove(run.issue, branch).await?;
            }
            Event::EffectDone
        }
        // Messages are brought by the driver's delivery, notices by the outbox.
        Effect::Deliver { .. } | Effect::Notify { .. } => return Ok(None),
    };
    Ok(Some(Seen { event, completes: Some(id.clone()), input: None }))
}

/// Returns the event for an order that no repeat can carry out.
pub fn failed(id: &EffectId, error: &str) -> Seen {
    Seen { event: Event::EffectFailed { error: error.to_owned() }, completes: Some(id.clone()), input: None }
}

async fn open_pull_request(world: &World, run: &Run, files: &dyn RunFiles) -> Result<Event, DispatchError> {
    let Some(branch) = &run.branch else {
        return Ok(Event::EffectFailed { error: "the run has no branch".into() });
    };
    if let Some(found) = find_own(world, run).await? {
        return Ok(found);
    }
    let new = NewPullRequest {
        head: branch.clone(),
        base: world.project.primary_branch.clone(),
        title: world.redactor.redact(&prompts::pull_request_title(&run.title, run.issue.0)).into_owned(),
        body: world.redactor.redact(&prompts::pull_request_body(run.issue.0, &files.summary(run.attempt))).into_owned(),
    };
    match world.forge.create_pull_request(&new).await? {
        Created::New(pull_request) => {
            Ok(Event::PullRequestOpened { number: pull_request.number, head: pull_request.head.clone() })
        }
        Created::AlreadyThere => match find_own(world, run).await? {
            Some(found) => Ok(found),
            None => {
                let unreadable = world.forge.pull_requests(StateFilter::All).await?.unreadable;
                if !unreadable.is_empty() {
                    return Err(survey::cannot_be_told(&unreadable).into());
                }
                let error = format!("somebody else has opened a pull request of branch {branch}");
                Ok(Event::EffectFailed { error })
            }
        },
    }
}

/// Finds the pull request that an earlier try has made, whatever has become of it since.
async fn find_own(world: &World, run: &Run) -> ForgeResult<Option<Event>> {
    Ok(survey::own_pull_request(world, run).await?.map(|own| match own.merged {
        true => Event::Merged { pull_request: own.number, commit: own.merge_commit },
        false => Event::PullRequestOpened { number: own.number, head: own.head },
    }))
}

async fn verify_merged(world: &World, run: &Run) -> Result<Event, DispatchError> {
    let Some(number) = run.pull_request else { return Ok(Event::NotMerged) };
    let pull_request = world.forge.pull_request(number).await?;
    Ok(if pull_request.merged { observe::merged(world, &pull_request) } else { Event::NotMerged })
}

/// Closes the issue only when its pull request reads back merged; most forges have closed it by then.
pub(super) async fn close_issue(world: &World, run: &Run) -> Result<(), DispatchError> {
    let Some(number) = run.pull_request else { return Ok(()) };
    if !world.forge.pull_request(number).await?.merged {
        let request = format!("closing issue {}", run.issue);
        let message = format!("pull request {number} does not read back merged");
        return Err(ForgeError::Unavailable { request, message }.into());
    }
    if world.forge.issue(run.issue).await?.state == OpenOrClosed::Open {
        world.forge.close_issue(run.issue).await?;
    }
    Ok(())
}

/// Deletes the merged branch, unless it holds more than what was merged.
pub(super) async fn delete_branch(world: &World, run: &Run) -> Result<(), DispatchError> {
    let (Some(branch), Some(number)) = (&run.branch, run.pull_request) else { return Ok(()) };
    Ok(delete_merged(world, branch, number).await?)
}

/// Deletes the branch of a merged pull request, unless it holds more than what was merged. Gone is gone.
pub(super) async fn delete_merged(world: &World, branch: &BranchName, number: PullRequestNumber) -> ForgeResult<()> {
    let Some(tip) = world.forge.branch_tip(branch.as_str()).await? else { return Ok(()) };
    let merged = world.forge.pull_request(number).await?;
    if !merged.merged || merged.head != tip {
        tracing::warn!(%number, %branch, tip = tip.short(), "the branch holds more than what was merged, and stays");
        return Ok(());
    }
    world.forge.delete_branch(branch).await.map(drop)
}

async fn diagnose(world: &World, run: &Run, id: &EffectId, why: &str) -> Result<(), DispatchError> {
    let screen =
        world.sessions.screen(&session::name_of(run), (DIAGNOSIS_LINES + LINES_ABOVE) as u32).await.unwrap_or_default();
    let screen = world.redactor.redact_screen(screen.trim_end());
    let lines: Vec<&str> = screen.lines().collect();
    let tail = lines[lines.len().saturating_sub(DIAGNOSIS_LINES)..].join("\n");
    let minutes = world.clock.now().duration_since(run.claimed_at).as_mins();
    let body = notices::addressed(world, &prompts::diagnosis(why, run.pull_request, minutes, &tail));
    comments::post_once(world, run.issue.0, &id.to_string(), &body).await?;
    Ok(())
}
