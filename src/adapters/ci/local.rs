//! CI on this machine: a command in a clean checkout of the commit, with next to no environment. The verdict is what the
//! command did; the commit statuses on the forge only show it to people.

use super::log_text;
use crate::{
    adapters::{
        git::{CHECKOUT_VARIABLE, remove_checkout},
        process::{Ended, Output, ProcessError, Program},
    },
    domain::{
        ci::{CiVerdict, FailedStep},
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
/// Characters of the command in a step's name and a status: forges cut descriptions at 255.
const NAME_LENGTH: usize = 120;
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

    async fn check(&self, head: &Sha) -> Result<CiVerdict, CiError> {
        let checkout = match self.workspace.checkout(head).await {
            Ok(path) => Checkout(path),
            Err(WorkspaceError::Unavailable { what, message } | WorkspaceError::Failed { what, message }) => {
                return Ok(CiVerdict::Broken { why: format!("{what}: {message}") });
            }
        };
        let ended = self.program(&checkout.0).run_to_limit().await;
        drop(checkout);
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
            Ok(()) => path.display().to_string(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the log of local CI cannot be kept");
                String::new()
            }
        }
    }

    /// Shows a state on the forge. Posting a state twice is harmless: the latest of a context counts.
    async fn post(&self, head: &Sha, state: StatusState, description: String) {
        let status = NewStatus { state, context: CONTEXT.to_owned(), description, target_url: String::new() };
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
        let (_, verdict) =
            tokio::join!(self.post(head, StatusState::Pending, format!("running {}", self.name())), self.check(head));
        let verdict = verdict?;
        let (state, description) = match &verdict {
            CiVerdict::Green => (StatusState::Success, format!("{} succeeded", self.name())),
            CiVerdict::Red { steps } => {
                let code = steps.first().and_then(|step| step.exit_code);
                let how = code.map_or("did not end in time".to_owned(), |code| format!("exit code {code}"));
                (StatusState::Failure, format!("{}: {how}", self.name()))
            }
            CiVerdict::Broken { .. } | CiVerdict::Pending { .. } => {
                (StatusState::Error, "the check could not be run; it will be tried again".to_owned())
            }
        };
        self.post(head, state, description).await;
        Ok(verdict)
    }

    fn runs_here(&self) -> bool {
        true
    }
}

/// A checkout that is removed with this value; what a killed process leaves is cleared by the next checkout.
struct Checkout(PathBuf);

impl Drop for Checkout {
    fn drop(&mut self) {
        // Also what left the command's process group, which would go on writing into the folder.
        remove_checkout(&self.0);
    }
}
