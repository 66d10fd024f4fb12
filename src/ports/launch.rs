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

pub trait Machine: Send + Sync {
    /// Starts the driver of a run, detached from this process.
    fn launch_driver(&self, project: &ProjectName, issue: IssueNumber, run: &RunId) -> Result<(), LaunchError>;
    /// Makes the driver of an issue look at once, if one lives: something was queued for it. Only a hint.
    fn wake_driver(&self, project: &ProjectName, issue: IssueNumber);
    /// Returns this process.
    fn this_process(&self) -> ProcessIdentity;
    /// Returns whether exactly this process lives.
    fn is_alive(&self, process: &ProcessIdentity) -> bool;
    /// Ends exactly this process, if it lives.
    fn end(&self, process: &ProcessIdentity);
    /// Returns the memory that new programs could have, in MiB; `None` when the machine does not say.
    fn available_memory_mb(&self) -> Option<u64>;
    /// Returns a new run id.
    fn new_run_id(&self) -> RunId;
}
