//! The root folder and every path below it: all paths derive from (root, project, issue, attempt), here and nowhere else.

use crate::domain::ids::{Attempt, IssueNumber, ProjectName, RunId};
use std::path::{Path, PathBuf};

/// The folder that holds `projects/` and `state/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// Returns the root at an absolute path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn projects_dir(&self) -> PathBuf {
        self.0.join("projects")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Returns the switch of the dev loop: present means on.
    pub fn dev_switch(&self) -> PathBuf {
        self.state_dir().join(".dev-active")
    }

    /// Returns the file with further environment variables (0600), so that cron has them.
    pub fn env_file(&self) -> PathBuf {
        self.state_dir().join("env")
    }

    pub fn database(&self) -> PathBuf {
        self.state_dir().join("rig.db")
    }

    pub fn log_dir(&self) -> PathBuf {
        self.state_dir().join("log")
    }

    /// Returns the file that takes what a tick under cron says: it is quiet unless something is wrong.
    pub fn cron_log(&self) -> PathBuf {
        self.log_dir().join("cron.log")
    }

    /// Returns the file that takes what errands of ticks say: only what goes wrong.
    pub fn errands_log(&self) -> PathBuf {
        self.log_dir().join("errands.log")
    }

    /// Returns the folder of the Matrix bridge: its lock, its log, and the accounts.
    pub fn matrix_dir(&self) -> PathBuf {
        self.state_dir().join("matrix")
    }

    /// Returns the folder of an account's token and keys, by its homeserver's URL.
    pub fn matrix_account(&self, homeserver: &str, user: &str) -> PathBuf {
        self.matrix_server(homeserver).join(as_file_name(user))
    }

    /// Returns the folder of all accounts at a homeserver.
    pub fn matrix_server(&self, homeserver: &str) -> PathBuf {
        let host = homeserver.split_once("://").map_or(homeserver, |(_, host)| host);
        self.matrix_dir().join(as_file_name(host))
    }

    /// Returns the folder of the embedded forge's own state.
    pub fn forge_dir(&self) -> PathBuf {
        self.state_dir().join("forge")
    }

    /// Where forges that want to be left alone are remembered.
    pub fn pauses_dir(&self) -> PathBuf {
        self.state_dir().join("pauses")
    }

    /// Returns the folder of a project's two bare repositories and its CI checkouts.
    pub fn git_dir(&self, project: &ProjectName) -> PathBuf {
        self.state_dir().join("git").join(project.as_str())
    }

    /// Returns the folder of a project's local CI logs and of the contexts that its primary branch is known to show.
    pub fn ci_dir(&self, project: &ProjectName) -> PathBuf {
        self.state_dir().join("ci").join(project.as_str())
    }

    /// Returns the file of what the last tick said of a project.
    pub fn last_tick(&self, project: &ProjectName) -> PathBuf {
        self.state_dir().join("ticks").join(format!("{project}.json"))
    }

    pub fn worktree(&self, project: &ProjectName, issue: IssueNumber) -> PathBuf {
        self.state_dir().join("worktrees").join(project.as_str()).join(issue.0.to_string())
    }

    /// Returns the folder of the files of all of a project's runs.
    pub fn runs_dir(&self, project: &ProjectName) -> PathBuf {
        self.state_dir().join("run").join(project.as_str())
    }

    pub fn run(&self, project: &ProjectName, issue: IssueNumber) -> RunDir {
        RunDir(self.runs_dir(project).join(issue.0.to_string()))
    }
}

/// Returns a name without what would lead out of its folder.
fn as_file_name(text: &str) -> String {
    let name: String = text.chars().map(|c| if c == '/' || c.is_control() { '_' } else { c }).collect();
    if name.starts_with('.') { format!("_{name}") } else { name }
}

/// The files of one issue's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn attempt(&self, attempt: Attempt) -> AttemptDir {
        AttemptDir(self.0.join(format!("attempt-{attempt}")))
    }

    /// Returns the file of a run's lifecycle hooks, appended to by `rig hook`. Each run has its own, so that its byte
    /// offsets begin at 0 and nothing of earlier runs is ever read.
    pub fn hooks(&self, run: &RunId) -> PathBuf {
        self.0.join(format!("hooks-{run}.jsonl"))
    }

    /// Returns the file whose touch makes the driver look.
    pub fn wake(&self) -> PathBuf {
        self.0.join("wake")
    }

    /// Returns the folder of messages to the agent.
    pub fn inbox(&self) -> PathBuf {
        self.0.join("inbox")
    }

    pub fn scratch(&self) -> PathBuf {
        self.0.join("scratch.md")
    }

    /// Returns the log of making worktrees runnable.
    pub fn setup_log(&self) -> PathBuf {
        self.0.join("setup.log")
    }

    pub fn driver_log(&self) -> PathBuf {
        self.0.join("driver.log")
    }
}

/// The files of one attempt; an agent can write only into its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptDir(PathBuf);

impl AttemptDir {
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn phase(&self) -> PathBuf {
        self.0.join("phase")
    }

    /// Returns the log that `rig phase set` appends to, so that fast successive phases are not lost.
    pub fn phase_log(&self) -> PathBuf {
        self.0.join("phase.log")
    }

    pub fn summary(&self) -> PathBuf {
        self.0.join("summary")
    }

    /// Returns what the session's screen showed last, as rig saw it at a stop of the agent.
    pub fn screen(&self) -> PathBuf {
        self.0.join("screen.txt")
    }

    pub fn prompt(&self) -> PathBuf {
        self.0.join("prompt.md")
    }

    pub fn env(&self) -> PathBuf {
        self.0.join("env")
    }

    pub fn settings(&self) -> PathBuf {
        self.0.join("settings.json")
    }
}
