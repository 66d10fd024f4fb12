//! The only place that starts other programs: each in a process group of its own, with a time limit, capped output, and
//! closed standard input unless bytes are given. Deliberately absent: shells; arguments reach the program as they are.

use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Time limit of a command that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes kept of each output stream of a command that names no cap.
const DEFAULT_OUTPUT_CAP: usize = 4 * 1024 * 1024;
/// Time that the output of a program that has ended may still take: a grandchild may hold the pipe open.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

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
#[derive(Debug, Clone)]
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

/// What a program that ended said.
#[derive(Debug, Clone)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// The cap cut something off.
    pub truncated: bool,
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
        let stdout = tokio::spawn(read_capped(child.stdout.take(), cap, tail));
        let stderr = tokio::spawn(read_capped(child.stderr.take(), cap, tail));
        let Ok(status) = tokio::time::timeout(self.timeout, child.wait()).await else {
            drop(guard);
            let _ = child.wait().await;
            return Err(ProcessError::TimedOut { program, limit: self.timeout });
        };
        let status = status.map_err(|error| start_error(&program, &error))?;
        let (stdout, cut_out) = drained(stdout).await;
        let (stderr, cut_err) = drained(stderr).await;
        // What the program left behind in its group ends with it.
        drop(guard);
        Ok(Output { status, stdout, stderr, truncated: cut_out || cut_err })
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
        let stderr = tokio::spawn(read_capped(child.stderr.take(), self.output_cap, self.keep_tail));
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Ok(Streaming { stdin, stdout, program, limit: self.timeout, child, stderr, guard })
    }

    /// Starts the program detached: a session of its own, standard input closed, both outputs appended to `log`.
    /// It outlives this process.
    pub fn spawn_detached(self, log: std::fs::File) -> Result<(), ProcessError> {
        let program = self.name();
        let error_log = log.try_clone().map_err(|error| start_error(&program, &error))?;
        // `setsid` makes the session; unsafe pre-exec hooks are ruled out in this crate.
        let mut detached = Program::new("setsid").arg("--fork").arg(&self.program).args(&self.args);
        detached.cwd = self.cwd;
        detached.clear_env = self.clear_env;
        detached.env = self.env;
        let mut command = detached.command();
        command.stdin(Stdio::null()).stdout(log).stderr(error_log);
        let mut child = command.spawn().map_err(|error| start_error(&program, &error))?;
        child.wait().map_err(|error| start_error(&program, &error))?;
        Ok(())
    }

    /// Replaces this process by the program; returns only on failure.
    pub fn exec(self) -> ProcessError {
        use std::os::unix::process::CommandExt;
        let program = self.name();
        let mut command = std::process::Command::new(&self.program);
        self.apply(&mut command);
        start_error(&program, &command.exec())
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

/// A program that runs while its input is written and its output read. Dropping it kills its process group.
#[derive(Debug)]
pub struct Streaming {
    /// Standard input, for the caller to take; dropping it is the end of the input.
    pub stdin: Option<tokio::process::ChildStdin>,
    /// Standard output, for the caller to take.
    pub stdout: Option<tokio::process::ChildStdout>,
    program: String,
    limit: Duration,
    child: tokio::process::Child,
    stderr: tokio::task::JoinHandle<(Vec<u8>, bool)>,
    guard: GroupGuard,
}

impl Streaming {
    /// Waits for the end. Returns the exit status and what was said on standard error. A time-out kills the group.
    pub async fn finish(mut self) -> Result<(ExitStatus, Vec<u8>), ProcessError> {
        drop(self.stdin.take());
        drop(self.stdout.take());
        let Ok(status) = tokio::time::timeout(self.limit, self.child.wait()).await else {
            return Err(ProcessError::TimedOut { program: self.program, limit: self.limit });
        };
        let status = status.map_err(|error| start_error(&self.program, &error))?;
        let (stderr, _) = drained(self.stderr).await;
        drop(self.guard);
        Ok((status, stderr))
    }
}

/// Kills a process group when dropped: the program's own and whatever it left in it.
#[derive(Debug)]
struct GroupGuard {
    group: Option<Pid>,
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn start_error(program: &str, error: &std::io::Error) -> ProcessError {
    match error.kind() {
        std::io::ErrorKind::NotFound => ProcessError::NotInstalled { program: program.to_owned() },
        _ => ProcessError::NotStarted { program: program.to_owned(), message: error.to_string() },
    }
}

async fn drained(reader: tokio::task::JoinHandle<(Vec<u8>, bool)>) -> (Vec<u8>, bool) {
    match tokio::time::timeout(DRAIN_TIMEOUT, reader).await {
        Ok(Ok(read)) => read,
        _ => (Vec::new(), true),
    }
}

/// Reads a stream to its end so that the writer never blocks, and keeps at most `cap` bytes of it.
async fn read_capped(stream: Option<impl AsyncRead + Unpin>, cap: usize, tail: bool) -> (Vec<u8>, bool) {
    let Some(mut stream) = stream else { return (Vec::new(), false) };
    let (mut kept, mut truncated) = (Vec::new(), false);
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(count) = stream.read(&mut chunk).await {
        if count == 0 {
            break;
        }
        if tail {
            kept.extend_from_slice(&chunk[..count]);
            if kept.len() > cap * 2 {
                kept.drain(..kept.len() - cap);
                truncated = true;
            }
        } else {
            let room = cap - kept.len();
            kept.extend_from_slice(&chunk[..count.min(room)]);
            truncated |= count > room;
        }
    }
    if kept.len() > cap {
        kept.drain(..kept.len() - cap);
        truncated = true;
    }
    (kept, truncated)
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
