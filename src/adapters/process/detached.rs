//! Starting what outlives this process, and short questions without an async runtime.

use super::{GroupGuard, Output, ProcessError, Program, Scope, start_error};
use rustix::process::Pid;
use std::{
    fs::File,
    io::Read,
    process::{Child, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Time that making a scope or a session may take: both take milliseconds.
const START_TIME: Duration = Duration::from_secs(5);
/// Pause between two looks at a program that is about to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// What keeps a detached program alive when its starter ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lives {
    /// A systemd scope of this name, and a session, of its own.
    InScope(String),
    /// Only a session of its own.
    InSession,
}

impl Program {
    /// Starts the program detached: a session of its own, standard input closed, both outputs appended to `log`; in the scope, if
    /// one is given and systemd makes it. It outlives this process.
    pub fn spawn_detached(self, log: File, scope: Option<&Scope>) -> Result<Lives, ProcessError> {
        // `setsid` makes the session; unsafe pre-exec hooks are ruled out in this crate.
        let mut detached = self.clone();
        detached.program = "setsid".into();
        detached.args = vec!["--fork".into(), self.program];
        detached.args.extend(self.args);
        detached.timeout = START_TIME;
        if let Some(scope) = scope {
            match scope.around(detached.clone()).start(&log) {
                Ok(status) if status.success() => return Ok(Lives::InScope(scope.unit().to_owned())),
                Ok(status) => tracing::warn!(%status, "systemd makes no scope; a session has to do"),
                Err(error) => tracing::warn!(%error, "systemd makes no scope; a session has to do"),
            }
        }
        let program = detached.name();
        let status = detached.start(&log)?;
        match status.success() {
            true => Ok(Lives::InSession),
            false => Err(ProcessError::Failed { program, status, message: "it made no session".to_owned() }),
        }
    }

    /// Starts what forks and ends at once, with its outputs in the log.
    fn start(self, log: &File) -> Result<ExitStatus, ProcessError> {
        let program = self.name();
        let failed = |error: std::io::Error| start_error(&program, &error);
        let (out, err) = (log.try_clone().map_err(failed)?, log.try_clone().map_err(failed)?);
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let mut child = command.spawn().map_err(failed)?;
        wait(&mut child, self.timeout, &program)
    }

    /// Runs a program that answers in a few words, without a runtime. What it says beyond a pipe's capacity holds it up until its
    /// time limit.
    pub fn run_blocking(self) -> Result<Output, ProcessError> {
        let program = self.name();
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| start_error(&program, &error))?;
        let status = wait(&mut child, self.timeout, &program)?;
        let mut stdout = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            pipe.take(self.output_cap as u64)
                .read_to_end(&mut stdout)
                .map_err(|error| start_error(&program, &error))?;
        }
        Ok(Output { status, stdout, stderr: Vec::new(), truncated: false })
    }
}

/// Waits for a child's end; at the time limit it is killed with its group.
fn wait(child: &mut Child, limit: Duration, program: &str) -> Result<ExitStatus, ProcessError> {
    let failed = |error: std::io::Error| start_error(program, &error);
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            GroupGuard { group }.kill();
            child.wait().map_err(failed)?;
            return Err(ProcessError::TimedOut { program: program.to_owned(), limit });
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_answer_is_read_and_a_long_silence_ended() {
        let said = Program::new("echo").arg("yes").run_blocking().unwrap();
        assert_eq!(said.text(), "yes");
        let silent = Program::new("sleep").arg("60").timeout(Duration::from_millis(20)).run_blocking();
        assert!(matches!(silent, Err(ProcessError::TimedOut { .. })), "{silent:?}");
    }
}
