//! The only place that starts other programs: each in a process group of its own, with a time limit, capped output, and
//! closed standard input unless bytes are given. Deliberately absent: shells; arguments reach the program as they are.

mod capture;
mod detached;
mod scope;
mod streaming;

pub use detached::Lives;
pub use scope::Scope;
pub use streaming::Streaming;

use capture::Capture;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::io::AsyncWriteExt;

/// Time limit of a command that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes kept of each output stream of a command that names no cap.
const DEFAULT_OUTPUT_CAP: usize = 4 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("`{program}` is not installed")]
    NotInstalled { program: String },
    #[error("`{program}` cannot be started: {message}")]
    NotStarted { program: String, message: String },
    #[error("`{program}` did not end within {} s", limit.as_secs())]
    TimedOut { program: String, limit: Duration },
    #[error("`{program}` failed ({status}): {message}")]
    Failed { program: String, status: ExitStatus, message: String },
}

/// A program to run.
#[derive(Clone)]
pub struct Program {
    program: OsString,
    args: Vec<OsString>,
    cwd: Option<PathBuf>,
    clear_env: bool,
    env: Vec<(OsString, Option<OsString>)>,
    stdin: Option<Vec<u8>>,
    timeout: Duration,
    output_cap: usize,
    keep_tail: bool,
}

impl fmt::Debug for Program {
    /// Leaves out values of the environment and the input: a token may be in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let env: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("Program")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("cwd", &self.cwd)
            .field("env", &env)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What a program that ended said.
#[derive(Debug, Clone)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// The cap cut something off.
    pub truncated: bool,
}

/// How a program ended.
#[derive(Debug, Clone)]
pub enum Ended {
    InTime(Output),
    /// It was killed at its time limit; what it had said until then.
    TimedOut(Output),
}

impl Output {
    /// Returns standard output as text without white space at its end; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Returns standard error as text, trimmed.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

impl Program {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            cwd: None,
            clear_env: false,
            env: Vec::new(),
            stdin: None,
            timeout: DEFAULT_TIMEOUT,
            output_cap: DEFAULT_OUTPUT_CAP,
            keep_tail: false,
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn cwd(mut self, folder: impl AsRef<Path>) -> Self {
        self.cwd = Some(folder.as_ref().to_owned());
        self
    }

    /// Starts with an empty environment; `env` adds to it.
    #[must_use]
    pub fn clear_env(mut self) -> Self {
        self.clear_env = true;
        self
    }

    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    #[must_use]
    pub fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), None));
        self
    }

    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Keeps at most this many bytes of each output stream: the first ones, or the last ones after `keep_tail`.
    #[must_use]
    pub fn output_cap(mut self, bytes: usize) -> Self {
        self.output_cap = bytes;
        self
    }

    /// When output exceeds the cap, keeps its end instead of its beginning.
    #[must_use]
    pub fn keep_tail(mut self) -> Self {
        self.keep_tail = true;
        self
    }

    /// Returns the program's name for messages; arguments may hold what is not for logs.
    pub fn name(&self) -> String {
        Path::new(&self.program).file_name().unwrap_or(&self.program).to_string_lossy().into_owned()
    }

    /// Runs the program to its end. A time-out kills its whole process group.
    pub async fn run(self) -> Result<Output, ProcessError> {
        let (program, limit) = (self.name(), self.timeout);
        match self.run_to_limit().await? {
            Ended::InTime(output) => Ok(output),
            Ended::TimedOut(_) => Err(ProcessError::TimedOut { program, limit }),
        }
    }

    /// The same, for who wants to see what a program said that did not end in time.
    pub async fn run_to_limit(self) -> Result<Ended, ProcessError> {
        let program = self.name();
        let mut command = tokio::process::Command::from(self.command());
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| start_error(&program, &error))?;
        let group = child.id().and_then(|id| Pid::from_raw(id as i32));
        let guard = GroupGuard { group };
        if let (Some(bytes), Some(mut stdin)) = (self.stdin.clone(), child.stdin.take()) {
            // A program that ends without reading its input is judged by its exit status, not by the broken pipe.
            tokio::spawn(async move {
                let _ = stdin.write_all(&bytes).await;
            });
        }
        let (cap, tail) = (self.output_cap, self.keep_tail);
        let stdout = Capture::start(child.stdout.take(), cap, tail);
        let stderr = Capture::start(child.stderr.take(), cap, tail);
        let ended = tokio::time::timeout(self.timeout, child.wait()).await;
        let in_time = ended.is_ok();
        let status = match ended {
            Ok(status) => status,
            Err(_) => {
                guard.kill();
                child.wait().await
            }
        };
        let status = status.map_err(|error| start_error(&program, &error))?;
        let ((stdout, cut_out), (stderr, cut_err)) = tokio::join!(stdout.finish(), stderr.finish());
        // What the program left behind in its group ends with it.
        drop(guard);
        let output = Output { status, stdout, stderr, truncated: cut_out || cut_err };
        Ok(if in_time { Ended::InTime(output) } else { Ended::TimedOut(output) })
    }

    /// Runs the program to its end; any exit status but success is an error that quotes its standard error.
    pub async fn run_ok(self) -> Result<Output, ProcessError> {
        let program = self.name();
        let output = self.run().await?;
        if output.status.success() {
            return Ok(output);
        }
        let mut message = output.error_text();
        if message.is_empty() {
            message = output.text();
        }
        Err(ProcessError::Failed { program, status: output.status, message: message.chars().take(2_000).collect() })
    }

    /// Starts the program with its standard input and output as streams, for what is too big to hold. Its standard error
    /// is kept up to the cap; its time limit counts from `Streaming::finish`.
    pub fn stream(self) -> Result<Streaming, ProcessError> {
        let program = self.name();
        let mut command = tokio::process::Command::from(self.command());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| start_error(&program, &error))?;
        let group = child.id().and_then(|id| Pid::from_raw(id as i32));
        let guard = GroupGuard { group };
        let stderr = Capture::start(child.stderr.take(), self.output_cap, self.keep_tail);
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Ok(Streaming { stdin, stdout, program, limit: self.timeout, child, stderr, guard })
    }

    /// Replaces this process by the program; returns only on failure.
    pub fn exec(self) -> ProcessError {
        use std::os::unix::process::CommandExt;
        let program = self.name();
        let mut command = std::process::Command::new(&self.program);
        self.apply(&mut command);
        start_error(&program, &command.exec())
    }

    /// Returns the arguments and the environment that the program would be started with.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> (Vec<String>, Vec<(String, Option<String>)>) {
        let text = |text: &OsString| text.to_string_lossy().into_owned();
        let env = self.env.iter().map(|(name, value)| (text(name), value.as_ref().map(text)));
        (self.args.iter().map(text).collect(), env.collect())
    }

    fn command(&self) -> std::process::Command {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new(&self.program);
        command.process_group(0);
        self.apply(&mut command);
        command
    }

    fn apply(&self, command: &mut std::process::Command) {
        command.args(&self.args);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        if self.clear_env {
            command.env_clear();
        }
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    }
}

/// Kills a process group when dropped: the program's own and whatever it left in it.
#[derive(Debug)]
struct GroupGuard {
    group: Option<Pid>,
}

impl GroupGuard {
    fn kill(&self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        self.kill();
    }
}

fn start_error(program: &str, error: &std::io::Error) -> ProcessError {
    match error.kind() {
        std::io::ErrorKind::NotFound => ProcessError::NotInstalled { program: program.to_owned() },
        _ => ProcessError::NotStarted { program: program.to_owned(), message: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_its_children() {
        let error = Program::new("sh")
            .args(["-c", "sleep 300 & sleep 300"])
            .timeout(Duration::from_millis(50))
            .run()
            .await
            .unwrap_err();
        assert!(matches!(error, ProcessError::TimedOut { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_was_said_is_kept_when_a_child_that_left_the_group_holds_the_pipe() {
        let limit = Duration::from_secs(2);
        let program = Program::new("sh").args(["-c", "echo said; setsid sleep 10; sleep 300"]).timeout(limit);
        let ended = program.run_to_limit().await.unwrap();
        assert!(matches!(&ended, Ended::TimedOut(output) if output.text() == "said"), "{ended:?}");
    }

    #[tokio::test]
    async fn output_beyond_the_cap_is_dropped_at_the_chosen_end() {
        let numbers = || Program::new("seq").arg("1000").output_cap(4);
        assert_eq!(numbers().run().await.unwrap().stdout, b"1\n2\n");
        let tail = numbers().keep_tail().run().await.unwrap();
        assert_eq!((tail.stdout.as_slice(), tail.truncated), (b"000\n".as_slice(), true));
    }

    #[tokio::test]
    async fn a_missing_program_is_told_from_a_failing_one() {
        let missing = Program::new("no-such-program-of-rig").run().await.unwrap_err();
        assert!(matches!(missing, ProcessError::NotInstalled { .. }), "{missing}");
        let failing = Program::new("sh").args(["-c", "echo why >&2; exit 3"]).run_ok().await.unwrap_err();
        assert!(failing.to_string().contains("why"), "{failing}");
    }

    #[tokio::test]
    async fn input_reaches_the_program_and_nothing_else_does() {
        let output = Program::new("sh")
            .args(["-c", "cat; env"])
            .clear_env()
            .env("ONLY", "this")
            .stdin("hello ")
            .run_ok()
            .await
            .unwrap();
        let text = output.text();
        assert!(text.starts_with("hello ") && text.contains("ONLY=this") && !text.contains("HOME="), "{text}");
    }
}
