//! Makes a fresh worktree runnable: the project's own command, in the worktree, with the environment that the agent will
//! have, and with an end.

use super::launch::{self, LaunchPlace, Starter};
use crate::{
    adapters::process::{Ended, Program},
    ports::session::{SessionPlan, SetUp, SetUpEnd},
};

/// Bytes kept of what the command says; the end counts.
const OUTPUT_BYTES: usize = 1024 * 1024;

/// Runs the command to its end or to its time limit; then its whole process group is killed.
pub(super) async fn run(plan: &SessionPlan, set_up: &SetUp, starter: &Starter<'_>) -> Result<SetUpEnd, String> {
    let place = LaunchPlace::new(&plan.attempt_dir);
    let environment = launch::environment(plan, &place, starter).map_err(|error| error.to_string())?;
    // Both outputs in one stream, so that they stay in order.
    let script = format!("exec 2>&1\n{}", set_up.command);
    let mut program = Program::new("sh").args(["-c", &script]).cwd(&plan.worktree).clear_env();
    for (name, value) in environment {
        program = program.env(name, value);
    }
    let program = program.env("GIT_TERMINAL_PROMPT", "0").timeout(set_up.timeout).output_cap(OUTPUT_BYTES).keep_tail();
    let (output, problem) = match program.run_to_limit().await.map_err(|error| error.to_string())? {
        Ended::InTime(output) if output.status.success() => (output, None),
        Ended::InTime(output) => {
            let how = output.status.to_string();
            (output, Some(format!("ended with {how}")))
        }
        Ended::TimedOut(output) => (output, Some(format!("did not end within {} s", set_up.timeout.as_secs()))),
    };
    let beginning = if output.truncated { "[the beginning was cut off]\n" } else { "" };
    let text = String::from_utf8_lossy(&output.stdout);
    let plain: String = text.chars().filter(|c| !c.is_control() || "\n\t".contains(*c)).collect();
    Ok(SetUpEnd { problem, output: format!("{beginning}{plain}") })
}
