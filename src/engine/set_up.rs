//! Makes a fresh worktree runnable before its first session: the project's own command, once in each worktree. What it says
//! is kept beside the run's other logs; what fails comes to people with the end of it.

use super::World;
use crate::{
    domain::run::Run,
    ports::{
        run_files::RunFiles,
        session::{SessionPlan, SetUp, SetUpEnd},
    },
};

use super::session::StartError;

/// Times that the command is run before a person has to look: registries and networks have their bad moments.
const TRIES: u32 = 2;
/// Characters of its output that people are shown.
const TOLD_CHARS: usize = 3_000;

/// Runs the command unless this worktree has had it.
pub(super) async fn set_up(
    world: &World,
    run: &Run,
    files: &dyn RunFiles,
    plan: &SessionPlan,
) -> Result<(), StartError> {
    let agent = &world.project.agent;
    let Some(command) = &agent.setup else { return Ok(()) };
    if world.workspace.is_set_up(run.issue, command) {
        return Ok(());
    }
    let set_up = SetUp { command: command.clone(), timeout: agent.setup_timeout };
    for left in (0..TRIES).rev() {
        let began = world.clock.monotonic();
        let end = world.sessions.set_up(plan, &set_up).await?;
        let secs = world.clock.monotonic().saturating_sub(began).as_secs();
        let output = world.redactor.redact(&end.output).into_owned();
        let how = end.problem.as_deref().unwrap_or("succeeded");
        let note = format!("# {} attempt {}: `{command}` {how} after {secs} s\n", world.clock.now(), run.attempt);
        if let Err(error) = files.note_set_up(&world.redactor.redact(&format!("{note}{output}"))) {
            tracing::warn!(run = %run.id, %error, "the log of the set-up cannot be kept");
        }
        match end {
            SetUpEnd { problem: None, .. } => {
                world.workspace.remember_set_up(run.issue, command)?;
                return Ok(());
            }
            SetUpEnd { problem: Some(problem), .. } if left == 0 => {
                return Err(StartError::SetUp { problem, output: tail(&output) });
            }
            SetUpEnd { problem: Some(problem), .. } => {
                tracing::warn!(run = %run.id, problem, "setting up the worktree failed and is tried again");
            }
        }
    }
    Ok(())
}

fn tail(output: &str) -> String {
    let text = output.trim_end();
    let cut = text.chars().count().saturating_sub(TOLD_CHARS);
    text.chars().skip(cut).collect()
}
