//! The lock port: locks between processes of one user on one host, which end with their holder. Owning the value is the proof.

use crate::domain::ids::IssueNumber;
use async_trait::async_trait;
use std::time::Duration;

/// Which lock; all are per repository on a forge, shared by every root and project of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockName {
    /// From choosing an issue to having claimed it; short.
    Dispatch,
    /// The driver of one issue, for its life.
    Run(IssueNumber),
    /// From judging a pull request to reading it back; never across CI.
    Merge,
    /// While commits that no run leads are checked on this machine, one after the other.
    Checks,
    /// While one mirror, by the digest of its URL, is pushed to.
    Mirror(u64),
    /// While notices are written on issues, so that each is written once.
    Notices,
    /// While notices are sent by webhook and command, so that their order holds.
    Channels,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it and kept it for as long as was waited.
    #[error("another process holds the lock {path}")]
    Held { path: String },
    #[error("the lock {path} cannot be taken: {message}")]
    Failed { path: String, message: String },
}

/// A lock that is held until this value is dropped.
pub trait Held: Send + Sync + std::fmt::Debug {}

#[async_trait]
pub trait Locks: Send + Sync {
    /// Takes a lock, waiting at most `wait`.
    async fn take(&self, name: LockName, wait: Duration) -> Result<Box<dyn Held>, LockError>;
}
