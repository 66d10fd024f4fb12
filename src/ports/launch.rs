//! The launch port: starting a driver that outlives this process, and what this machine says of processes and memory.

use crate::domain::ids::{IssueNumber, ProjectName, RunId};

#[derive(Debug, thiserror::Error)]
#[error("the driver of issue {issue} cannot be started: {message}")]
pub struct LaunchError {
    pub issue: IssueNumber,
    pub message: String,
}

/// What tells one process from every other that ever had its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessIdentity {
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub start: u64,
    pub boot_id: String,
}

/// Something that a tick leaves to a process of its own, because it may take long and nothing waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Errand {
    /// Checks the commits that wait for the CI of this machine and that no run leads.
    Checks,
    /// Pushes to the mirrors that are behind.
    Mirrors,
}

pub trait Machine: Send + Sync {
    /// Starts the driver of a run, detached from this process.
    fn launch_driver(&self, project: &ProjectName, issue: IssueNumber, run: &RunId) -> Result<(), LaunchError>;
    /// Starts an errand for a project, detached from this process. Twice at once: the second leaves. What it does not get done the
    /// next tick starts again.
    fn start_errand(&self, project: &ProjectName, errand: Errand) -> std::io::Result<()>;
    /// Makes the driver of an issue look at once, if one lives: something was queued for it. Only a hint.
    fn wake_driver(&self, project: &ProjectName, issue: IssueNumber);
    /// Makes sure that a chat bridge runs, and looks at the outbox at once. Only a hint: a tick does it again.
    fn ensure_bridge(&self);
    /// Returns whether the dev loop is on. What cannot be looked at counts as off.
    fn is_switched_on(&self) -> bool;
    /// Switches the dev loop on or off. Returns whether that changed anything.
    fn switch(&self, on: bool) -> std::io::Result<bool>;
    /// Returns this process.
    fn this_process(&self) -> ProcessIdentity;
    /// Returns whether exactly this process lives.
    fn is_alive(&self, process: &ProcessIdentity) -> bool;
    /// Ends exactly this process, if it lives.
    fn end(&self, process: &ProcessIdentity);
    /// Returns the memory that new programs could have, in MiB; `None` when the machine does not say.
    fn available_memory_mb(&self) -> Option<u64>;
    /// Removes the file of a run's hooks, which has ended. Gone is gone.
    fn forget_hooks(&self, project: &ProjectName, issue: IssueNumber, run: &RunId) -> std::io::Result<()>;
    /// Returns the issues of a project that have a folder of their runs' files.
    fn run_folders(&self, project: &ProjectName) -> Vec<IssueNumber>;
    /// Removes the folder of an issue's runs, none of which is open. Gone is gone.
    fn forget_run_folder(&self, project: &ProjectName, issue: IssueNumber) -> std::io::Result<()>;
    /// Returns a new run id.
    fn new_run_id(&self) -> RunId;
}
