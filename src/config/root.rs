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

    /// Returns the folder of the embedded forge's own state.
    pub fn forge_dir(&self) -> PathBuf {
        self.state_dir().join("forge")
    }

    /// Returns the folder of a project's two bare repositories and its CI checkouts.
    pub fn git_dir(&self, project: &ProjectName) -> PathBuf {
        self.state_dir().join("git").join(project.as_str())
    }

    /// Returns the folder of a project's local CI logs and of the contexts that its primary branch is known to show.
    pub fn ci_dir(&self, project: &ProjectName) -> PathBuf {
        self.state_dir().join("ci").join(project.as_str())
    }

    pub fn worktree(&self, project: &ProjectName, issue: IssueNumber) -> PathBuf {
        self.state_dir().join("worktrees").join(project.as_str()).join(issue.0.to_string())
    }

    pub fn run(&self, project: &ProjectName, issue: IssueNumber) -> RunDir {
        RunDir(self.state_dir().join("run").join(project.as_str()).join(issue.0.to_string()))
    }
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
