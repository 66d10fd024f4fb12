//! Carries out what a run ordered. Every result is an event for the run; nothing here decides what it means.

use super::{World, claim, comments, merge, notices, observe::Seen, session, survey};
use crate::{
    domain::{
        ci::CiVerdict,
        ids::EffectId,
        issue::OpenOrClosed,
        prompts,
        run::{Effect, Event, Run, Stage},
    },
    ports::{
        ci::CiError,
        forge::{Created, ForgeError, NewPullRequest},
        lock::{LockError, LockName},
        run_files::RunFiles,
        session::SessionError,
        store::{MirrorRow, StoreError},
        workspace::{MirrorPush, WorkspaceError},
    },
};
use jiff::SignedDuration;
use std::time::Duration;

/// Longest wait for another process that claims in the same repository.
const DISPATCH_WAIT: Duration = Duration::from_secs(20);
/// Time for the first check of a project to show itself; then a human is asked.
const NO_CHECK: SignedDuration = SignedDuration::from_mins(10);
/// Lines of the screen in a diagnosis.
const DIAGNOSIS_LINES: usize = 50;

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
            claim::confirm(world, run, dispatch.as_ref()).await?
        }
        Effect::SurveyPriorWork => survey::survey(world, run).await?,
        Effect::StartSession { attempt, resume } => {
            let told = session::start(world, run, files, *attempt, *resume).await?;
            Event::SessionStarted { attempt: *attempt, told }
        }
        Effect::InspectBranch { phase } => {
            let Some(branch) = &run.branch else { return Ok(Some(failed(id, "the run has no branch"))) };
            let state = world.workspace.inspect(run.issue, branch).await?;
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
            let verdict = world.ci.run(head).await?;
            if verdict.is_no_check_known() && world.clock.now().duration_since(run.since) >= NO_CHECK {
                let error = "no check is known: set required_contexts, protect the branch, or say provider = \"none\"";
                return Ok(Some(failed(id, error)));
            }
            if matches!(verdict, CiVerdict::Pending { .. }) {
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
                journaled_green: run.green_at.as_ref(),
            };
            merge::judge_and_merge(world, &wanted).await?
        }
        Effect::SetState { state } => {
            claim::set_state(world, run.issue, *state).await?;
            if matches!(run.stage, Stage::Finishing { .. }) {
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
            push_mirrors(world).await?;
            Event::EffectDone
        }
        Effect::DeleteBranch => {
            delete_branch(world, run).await?;
            Event::EffectDone
        }
        Effect::EndSession => {
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
        Created::AlreadyThere => Ok(find_own(world, run).await?.unwrap_or_else(|| Event::EffectFailed {
            error: format!("somebody else has opened a pull request of branch {branch}"),
        })),
    }
}

/// Finds the pull request that an earlier try has made, whatever has become of it since.
async fn find_own(world: &World, run: &Run) -> Result<Option<Event>, ForgeError> {
    Ok(survey::own_pull_request(world, run).await?.map(|own| match own.merged {
        true => Event::Merged { pull_request: own.number, commit: own.merge_commit },
        false => Event::PullRequestOpened { number: own.number, head: own.head },
    }))
}

async fn verify_merged(world: &World, run: &Run) -> Result<Event, DispatchError> {
    let Some(number) = run.pull_request else { return Ok(Event::NotMerged) };
    let pull_request = world.forge.pull_request(number).await?;
    Ok(match pull_request.merged {
        true => Event::Merged { pull_request: number, commit: pull_request.merge_commit },
        false => Event::NotMerged,
    })
}

/// Closes the issue only when its pull request reads back merged; most forges have closed it by then.
async fn close_issue(world: &World, run: &Run) -> Result<(), DispatchError> {
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
async fn delete_branch(world: &World, run: &Run) -> Result<(), DispatchError> {
    let (Some(branch), Some(number)) = (&run.branch, run.pull_request) else { return Ok(()) };
    let Some(tip) = world.forge.branch_tip(branch.as_str()).await? else { return Ok(()) };
    let merged = world.forge.pull_request(number).await?;
    if !merged.merged || merged.head != tip {
        tracing::warn!(run = %run.id, %branch, tip = tip.short(), "the branch holds more than what was merged, and stays");
        return Ok(());
    }
    world.forge.delete_branch(branch).await?;
    Ok(())
}

async fn diagnose(world: &World, run: &Run, id: &EffectId, why: &str) -> Result<(), DispatchError> {
    let screen = world.sessions.screen(&session::name_of(run), DIAGNOSIS_LINES as u32).await.unwrap_or_default();
    let lines: Vec<&str> = screen.trim_end().lines().collect();
    let tail = lines[lines.len().saturating_sub(DIAGNOSIS_LINES)..].join("\n");
    let minutes = world.clock.now().duration_since(run.claimed_at).as_mins();
    let body = notices::addressed(world, &prompts::diagnosis(why, run.pull_request, minutes, &tail));
    comments::post_once(world, run.issue.0, &id.to_string(), &body).await?;
    Ok(())
}

/// Brings the primary branch to every mirror that does not have it; a mirror that fails is noted, and ticks go on with it.
pub async fn push_mirrors(world: &World) -> Result<Vec<MirrorRow>, DispatchError> {
    if world.project.mirrors.is_empty() {
        return Ok(Vec::new());
    }
    let commit = world.workspace.fetch_primary().await?;
    let known = world.store.mirrors(&world.project.name).await?;
    let behind = world.project.mirrors.iter().filter(|(name, _)| {
        !known.iter().any(|row| row.mirror == **name && row.sha.as_ref() == Some(&commit) && row.error.is_empty())
    });
    let pushes =
        behind.map(|(name, url)| async { (name.clone(), world.workspace.push_mirror(name, url, &commit).await) });
    let mut rows = Vec::new();
    for (mirror, pushed) in futures::future::join_all(pushes).await {
        let before = known.iter().find(|row| row.mirror == mirror);
        let (sha, error) = match pushed {
            Ok(MirrorPush::At(sha)) => (Some(sha), String::new()),
            Ok(MirrorPush::Diverged(how)) => {
                (before.and_then(|row| row.sha.clone()), format!("it has diverged: {how}"))
            }
            Ok(MirrorPush::Failed(why)) => (before.and_then(|row| row.sha.clone()), why),
            Err(error) => (before.and_then(|row| row.sha.clone()), error.to_string()),
        };
        let told = !error.is_empty() && before.is_some_and(|row| row.told);
        if !error.is_empty() && !told {
            tracing::warn!(project = %world.project.name, mirror, error, "a mirror stays behind");
        }
        let row = MirrorRow {
            project: world.project.name.clone(),
            mirror,
            sha,
            told: !error.is_empty(),
            error: world.redactor.redact(&error).into_owned(),
            at: world.clock.now(),
        };
        world.store.set_mirror(&row).await?;
        rows.push(row);
    }
    Ok(rows)
}
