//! Starts a run's session: the worktree, the first prompt, the agent. What the prompt is made of is gathered here, its
//! words are the domain's.

use super::{World, set_up};
use crate::{
    config::root::RunDir,
    domain::{
        ids::{Attempt, EffectId, Login},
        issue::Comment,
        prompts::{self, FirstPrompt, Recovery},
        run::Run,
    },
    ports::{
        forge::{ForgeError, StateFilter},
        run_files::{RunFiles, RunFilesError},
        session::{GuardPlan, SessionError, SessionName, SessionPlan},
        workspace::WorkspaceError,
    },
};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Bytes of one earlier pull request's diff in the prompt.
const PRIOR_DIFF_BYTES: usize = 20_000;
/// Titles of other issues in the prompt.
const OTHER_ISSUES: usize = 30;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Files(#[from] RunFilesError),
    #[error("setting up the worktree failed twice: it {problem}; its output ends:\n{output}")]
    SetUp { problem: String, output: String },
    #[error("the run has no branch yet")]
    NoBranch,
}

impl StartError {
    /// Returns whether the same start may succeed later without anyone's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Forge(error) => error.is_transient(),
            Self::Workspace(error) => error.is_transient(),
            Self::Session(SessionError::Failed { .. }) | Self::Files(_) => true,
            Self::Session(SessionError::Unusable { .. }) | Self::SetUp { .. } | Self::NoBranch => false,
        }
    }
}

/// Returns the name of the run's session.
pub fn name_of(run: &Run) -> SessionName {
    SessionName { project: run.project.clone(), issue: run.issue }
}

/// What came of a start.
#[derive(Debug)]
pub struct Started {
    /// Messages that the first prompt contains.
    pub told: Vec<EffectId>,
    /// Files that the worktree should have got, and the checkout does not have.
    pub not_copied: Vec<String>,
}

/// Starts an attempt. Safe to repeat: a session of the same attempt that lives is left alone.
pub async fn start(
    world: &World,
    run: &Run,
    files: &dyn RunFiles,
    attempt: Attempt,
    resume: Option<Attempt>,
) -> Result<Started, StartError> {
    let branch = run.branch.as_ref().ok_or(StartError::NoBranch)?;
    let worktree = world.workspace.prepare(run.issue, branch).await?;
    files.open_attempt(attempt)?;
    let messages: Vec<(EffectId, String)> = run
        .unfinished
        .iter()
        .map(|(id, message)| (id.clone(), message.text.clone()))
        .chain(run.messages().map(|(id, message)| (id.clone(), message.text.clone())))
        .collect();
    let ids: Vec<EffectId> = messages.iter().map(|(id, _)| id.clone()).collect();
    let told = files.remember_told(attempt, &ids)?;
    let texts: Vec<String> = messages.into_iter().filter(|(id, _)| told.contains(id)).map(|(_, text)| text).collect();
    let prompt = first_prompt(world, run, files, &texts, resume.is_some()).await?;
    let run_dir = world.root.run(&run.project, run.issue);
    let plan = SessionPlan {
        name: name_of(run),
        run: run.id.clone(),
        attempt,
        worktree: worktree.path,
        attempt_dir: run_dir.attempt(attempt).path().to_owned(),
        hooks_file: run_dir.hooks(&run.id),
        prompt,
        agent_session: agent_session_id(run, resume.unwrap_or(attempt)),
        resume: resume.is_some(),
        env: environment(world, run, &run_dir).await,
        push_token: world.project.forge.push_token.clone(),
        remote_url: format!("{}/{}.git", world.project.forge_url, world.project.repository),
        guard: GuardPlan {
            branch: branch.to_string(),
            primary_branch: world.project.primary_branch.clone(),
            forge_url: world.project.forge_url.clone(),
            writable: vec![run_dir.scratch()],
            policy: world.project.guard.clone(),
        },
    };
    set_up::set_up(world, run, files, &plan).await?;
    world.sessions.start(&plan).await?;
    Ok(Started { told, not_copied: worktree.not_copied })
}

/// The agent's own session id is derived from the run and the attempt that began it, so that a repeat gives the same.
pub(super) fn agent_session_id(run: &Run, attempt: Attempt) -> String {
    let hash = Sha256::digest(format!("{} {attempt}", run.id).as_bytes());
    let mut text = String::with_capacity(36);
    for (index, byte) in hash.iter().take(16).enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Version 8 (custom) and the RFC 9562 variant.
        let byte = match index {
            6 => byte & 0x0f | 0x80,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        let _ = write!(text, "{byte:02x}");
    }
    text
}

async fn environment(world: &World, run: &Run, run_dir: &RunDir) -> Vec<(String, String)> {
    let allowed = world.project.agent.env.iter();
    let mut env: Vec<(String, String)> =
        allowed.map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect();
    env.push(("SCRATCH_FILE".into(), run_dir.scratch().display().to_string()));
    // There may be no thread yet, and the session does without.
    if let Ok(Some(thread)) = world.outbox.thread(&run.id).await {
        env.push(("MATRIX_THREAD_ID".into(), thread.root));
    }
    env
}

async fn first_prompt(
    world: &World,
    run: &Run,
    files: &dyn RunFiles,
    messages: &[String],
    resumes: bool,
) -> Result<String, StartError> {
    let (issue, comments) = futures::try_join!(world.forge.issue(run.issue), world.forge.comments(run.issue.0))?;
    let comments: Vec<Comment> = comments.into_iter().filter(|comment| !is_bot(world, &comment.author)).collect();
    let others = world.forge.issues(StateFilter::Open, Some(&world.project.labels.backlog)).await;
    let mut others: Vec<(u64, String)> = others
        .map(|listed| listed.items)
        .unwrap_or_default()
        .into_iter()
        .filter(|other| other.number != run.issue)
        .map(|other| (other.number.0, other.title))
        .collect();
    others.sort();
    others.truncate(OTHER_ISSUES);
    let mut prior_art = Vec::new();
    for number in &run.prior {
        let diff = world.forge.diff(*number, PRIOR_DIFF_BYTES).await;
        prior_art.push((*number, diff.unwrap_or_else(|_| "Its diff could not be read.".into())));
    }
    let diff_stat = match &run.branch {
        Some(branch) => {
            world.workspace.inspect(run.issue, branch).await.map(|state| state.diff_stat).unwrap_or_default()
        }
        None => String::new(),
    };
    let last_phase = run.last_phase.as_ref().map(|report| report.phase.as_str()).unwrap_or_default();
    let is_first = run.used.respawns == 0 && run.last_phase.is_none() && run.pull_request.is_none() && !resumes;
    let recovery = (!is_first).then_some(Recovery { diff_stat: &diff_stat, last_phase, escalations: &run.escalations });
    Ok(prompts::first_prompt(&FirstPrompt {
        issue: &issue,
        comments: &comments,
        other_issues: &others,
        repository: &world.project.repository.to_string(),
        branch: run.branch.as_ref().map(|branch| branch.as_str()).unwrap_or_default(),
        primary_branch: &world.project.primary_branch,
        pull_request: run.pull_request,
        prior_art: &prior_art,
        scratch: &files.scratch(),
        recovery,
        messages,
    }))
}

fn is_bot(world: &World, author: &Login) -> bool {
    author.is(&world.project.forge.bot)
}
