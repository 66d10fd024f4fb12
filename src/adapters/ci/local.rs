//! CI on this machine: a command in a clean checkout of the commit, with next to no environment. The verdict is what the
//! command did; the commit statuses on the forge only show it to people.

use super::log_text;
use crate::{
    adapters::{
        git::{CHECKOUT_VARIABLE, remove_checkout},
        process::{Ended, Output, ProcessError, Program},
    },
    domain::{
        ci::{
            CiVerdict, FailedStep,
            failure::{Failed, machinerys_fault},
        },
        ids::Sha,
        pull_request::StatusState,
    },
    ports::{
        ci::{Ci, CiError},
        forge::{Forge, NewStatus},
        workspace::{Workspace, WorkspaceError},
    },
};
use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use std::{
    fs,
    os::unix::{
        fs::{DirBuilderExt, OpenOptionsExt},
        process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Context of the commit statuses.
const CONTEXT: &str = "rig/local";
/// Bytes of output that are kept, the last ones.
const LOG_CAP: usize = 4 * 1024 * 1024;
/// Logs of a project that are kept, the newest ones: what people still look at is among them.
const LOGS_KEPT: usize = 100;
/// Characters of the command in a step's name and a status: forges cut descriptions at 255.
const NAME_LENGTH: usize = 120;
/// What stands for the commit in the address of the logs.
const SHA_PLACE: &str = "{sha}";
/// Time for posting one status, retries included: a forge that is down must not hold up the verdict.
const POST_TIMEOUT: Duration = Duration::from_secs(15);
const POST_TRIES: usize = 3;
/// Exit code of a program that the shell saw killed by SIGKILL: out of memory, or somebody's hand.
const KILLED: i32 = 128 + 9;
/// Variables that the command gets as rig has them; `env_allow` adds to them.
const PASSED_ON: &[&str] = &["PATH", "HOME"];
/// Language of the command's output where rig's own environment, as under cron, names none.
const DEFAULT_LANG: &str = "C.UTF-8";

/// What local CI is made from.
pub struct LocalCiPlan {
    /// Shell command.
    pub command: String,
    pub timeout: Duration,
    /// Names of further environment variables that the command may see.
    pub env_allow: Vec<String>,
    /// Address at which people find the log of a commit, with `{sha}` for it; empty where nobody serves the folder.
    pub log_url: String,
    /// Folder of the logs, one `SHA.log` for each commit; made when missing.
    pub log_dir: PathBuf,
    /// Takes secrets out of text that leaves this machine or is kept.
    pub redact: Arc<dyn Fn(&str) -> String + Send + Sync>,
}

/// Runs a command for each commit that it is asked about.
pub struct LocalCi {
    plan: LocalCiPlan,
    workspace: Arc<dyn Workspace>,
    forge: Arc<dyn Forge>,
}

impl LocalCi {
    pub fn new(plan: LocalCiPlan, workspace: Arc<dyn Workspace>, forge: Arc<dyn Forge>) -> Self {
        Self { plan, workspace, forge }
    }

    /// Runs the command and shows people how it goes, with the number under which they find the log.
    async fn run_and_tell(&self, head: &Sha, number: Option<u64>) -> Result<CiVerdict, CiError> {
        let running = self.post(head, StatusState::Pending, format!("running {}", self.name()));
        let (_, verdict) = tokio::join!(running, self.check(head));
        let verdict = verdict?;
        let (state, description) = match &verdict {
            CiVerdict::Green => (StatusState::Success, format!("{} succeeded", self.name())),
            CiVerdict::Red { steps } => {
                let code = steps.first().and_then(|step| step.exit_code);
                let how = code.map_or("did not end in time".to_owned(), |code| format!("exit code {code}"));
                let log = number.map_or(String::new(), |number| format!(" (the log: rig logs {number} --ci)"));
                (StatusState::Failure, format!("{}: {how}{log}", self.name()))
            }
            CiVerdict::Broken { .. } | CiVerdict::Pending { .. } | CiVerdict::Held { .. } => {
                (StatusState::Error, "the check could not be run; it will be tried again".to_owned())
            }
        };
        self.post(head, state, description).await;
        Ok(verdict)
    }

    async fn check(&self, head: &Sha) -> Result<CiVerdict, CiError> {
        let checkout = match self.workspace.checkout(head).await {
            Ok(path) => Checkout(Some(path)),
            Err(WorkspaceError::Unavailable { what, message } | WorkspaceError::Failed { what, message }) => {
                return Ok(CiVerdict::Broken { why: format!("{what}: {message}") });
            }
        };
        let ended = self.program(checkout.path()).run_to_limit().await;
        checkout.remove().await;
        let (output, in_time) = match ended {
            Ok(Ended::InTime(output)) => (output, true),
            Ok(Ended::TimedOut(output)) => (output, false),
            Err(ProcessError::NotInstalled { program }) => {
                return Ok(CiVerdict::Broken { why: format!("`{program}` is not installed") });
            }
            Err(error) => return Ok(CiVerdict::Broken { why: error.to_string() }),
        };
        let log = (self.plan.redact)(&log_text::plain(&output.stdout));
        let link = self.keep_log(head, &log, output.truncated);
        Ok(self.judge(&output, in_time, &log, link))
    }

    /// The command runs in the checkout, both outputs in one stream, so that they stay in order.
    fn program(&self, checkout: &Path) -> Program {
        let script = format!("exec 2>&1\n{}", self.plan.command);
        let mut program = Program::new("sh").args(["-c", &script]).cwd(checkout).clear_env();
        for name in PASSED_ON.iter().copied().chain(self.plan.env_allow.iter().map(String::as_str)) {
            if let Some(value) = std::env::var_os(name) {
                program = program.env(name, value);
            }
        }
        let lang = std::env::var_os("LANG").unwrap_or_else(|| DEFAULT_LANG.into());
        let program = program
            .env("LANG", lang)
            .env("CI", "true")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env(CHECKOUT_VARIABLE, checkout);
        program.timeout(self.plan.timeout).output_cap(LOG_CAP).keep_tail()
    }

    fn judge(&self, output: &Output, in_time: bool, log: &str, link: String) -> CiVerdict {
        let mut step = FailedStep { name: self.name(), exit_code: None, log_tail: log_text::tail(log), link };
        if !in_time {
            step.name = format!("{} (did not end within {} s)", step.name, self.plan.timeout.as_secs());
            return CiVerdict::Red { steps: vec![step] };
        }
        match (output.status.code(), output.status.signal()) {
            (Some(0), _) => CiVerdict::Green,
            (Some(KILLED), _) => CiVerdict::Broken { why: format!("`{}` was killed (exit code 137)", step.name) },
            (Some(code), _) => {
                let failed = Failed { is_clone: false, exit_code: Some(code), said: "", log_tail: &step.log_tail };
                if let Some(why) = machinerys_fault(failed) {
                    return CiVerdict::Broken { why: format!("`{}`: {why} (exit code {code})", step.name) };
                }
                step.exit_code = Some(code);
                CiVerdict::Red { steps: vec![step] }
            }
            (None, signal) => {
                let signal = signal.map_or_else(|| "a signal".to_owned(), |signal| format!("signal {signal}"));
                CiVerdict::Broken { why: format!("`{}` was ended by {signal}", step.name) }
            }
        }
    }

    /// Returns the command on one line, bounded, for people.
    fn name(&self) -> String {
        let line = self.plan.command.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = (self.plan.redact)(&line);
        let short: String = line.chars().take(NAME_LENGTH).collect();
        if short.len() < line.len() { format!("{short}...") } else { short }
    }

    /// Keeps the log for people. Returns its path; a log that cannot be kept changes no verdict.
    fn keep_log(&self, head: &Sha, log: &str, truncated: bool) -> String {
        let path = self.plan.log_dir.join(format!("{head}.log"));
        let partial = self.plan.log_dir.join(format!(".{head}.{}.partial", std::process::id()));
        let beginning = if truncated { "[the beginning was cut off]\n" } else { "" };
        let kept = (|| {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.plan.log_dir)?;
            let mut options = fs::OpenOptions::new();
            let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&partial)?;
            std::io::Write::write_all(&mut file, format!("{beginning}{log}").as_bytes())?;
            fs::rename(&partial, &path)
        })();
        match kept {
            Ok(()) => {
                forget_old_logs(&self.plan.log_dir, LOGS_KEPT);
                path.display().to_string()
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the log of local CI cannot be kept");
                String::new()
            }
        }
    }

    /// Shows a state on the forge. Posting a state twice is harmless: the latest of a context counts.
    async fn post(&self, head: &Sha, state: StatusState, description: String) {
        let target_url = self.plan.log_url.replace(SHA_PLACE, head.as_str());
        let status = NewStatus { state, context: CONTEXT.to_owned(), description, target_url };
        let post = || self.forge.post_status(head, &status);
        let retries = ExponentialBuilder::default().with_max_times(POST_TRIES - 1);
        let posted = post.retry(retries).when(|error| error.is_transient());
        match tokio::time::timeout(POST_TIMEOUT, posted).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(commit = %head, %error, "the commit status cannot be posted"),
            Err(_) => tracing::warn!(commit = %head, "the forge does not take the commit status"),
        }
    }
}

#[async_trait]
impl Ci for LocalCi {
    async fn run(&self, head: &Sha) -> Result<CiVerdict, CiError> {
        self.run_and_tell(head, None).await
    }

    async fn run_for(&self, head: &Sha, number: u64) -> Result<CiVerdict, CiError> {
        self.run_and_tell(head, Some(number)).await
    }

    fn runs_here(&self) -> bool {
        true
    }
}

/// Removes the logs of a folder but for the newest ones.
fn forget_old_logs(folder: &Path, kept: usize) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let logs = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "log"));
    let mut logs: Vec<_> = logs.filter_map(|log| Some((log.metadata().ok()?.modified().ok()?, log.path()))).collect();
    logs.sort();
    for (_, log) in &logs[..logs.len().saturating_sub(kept)] {
        if let Err(error) = fs::remove_file(log) {
            tracing::warn!(log = %log.display(), %error, "an old log cannot be removed");
        }
    }
}

/// A checkout, until it is removed. What a killed process leaves is cleared by the next checkout.
struct Checkout(Option<PathBuf>);

impl Checkout {
    fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new("."))
    }

    /// Removes it on a thread of its own: a tree of a build is large, and the caller has other things to do meanwhile.
    async fn remove(mut self) {
        if let Some(path) = self.0.take() {
            // Also what left the command's process group, which would go on writing into the folder.
            let _ = tokio::task::spawn_blocking(move || remove_checkout(&path)).await;
        }
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // The check was broken off.
        let Some(path) = self.0.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || remove_checkout(&path))),
            Err(_) => remove_checkout(&path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn the_newest_logs_are_kept_and_nothing_else_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        for (age, name) in ["e.log", "d.log", "contexts.json", "c.log", "b.log", "a.log"].iter().enumerate() {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(60 * age as u64)).unwrap();
        }
        let left = || {
            let mut names: Vec<_> =
                fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        forget_old_logs(folder.path(), 3);
        assert_eq!(left(), ["c.log", "contexts.json", "d.log", "e.log"]);
        forget_old_logs(folder.path(), 3);
        assert_eq!(left().len(), 4);
    }
}
