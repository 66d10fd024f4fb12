//! The port to a run's folder: what the agent and its hooks leave there, what rig leaves there for the agent, and a hint
//! when something has changed. The hint makes rig fast; reading the files makes it right.

use super::session::HookEvent;
use crate::domain::{
    ids::{Attempt, EffectId},
    phase::PhaseText,
};
use async_trait::async_trait;
use std::path::PathBuf;

/// One writing of the phase file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseSighting {
    /// Inode and modification time in ns: another writing has another one.
    pub id: String,
    pub text: PhaseText,
}

#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}")]
pub struct RunFilesError {
    pub path: String,
    pub message: String,
}

pub type RunFilesResult<T> = Result<T, RunFilesError>;

#[async_trait]
pub trait RunFiles: Send + Sync {
    /// Makes the attempt's folder with an empty phase file, and watches it from now on. Safe to repeat.
    fn open_attempt(&self, attempt: Attempt) -> RunFilesResult<()>;
    /// Returns when something in the run's folder may have changed, or after a while.
    async fn changed(&self);
    /// Returns the writings of the phase file that are still to be seen, oldest first.
    fn phases(&self, attempt: Attempt) -> RunFilesResult<Vec<PhaseSighting>>;
    /// Returns the hooks behind a byte offset, oldest first.
    fn hooks(&self, from: u64) -> RunFilesResult<Vec<HookEvent>>;
    /// Returns what the agent wrote about its work; empty when nothing.
    fn summary(&self, attempt: Attempt) -> String;
    /// Returns the notes of earlier attempts; empty when there are none.
    fn scratch(&self) -> String;
    /// Writes a message for the agent. Returns the file's path. Safe to repeat.
    fn put_message(&self, id: &EffectId, text: &str) -> RunFilesResult<PathBuf>;
    /// Remembers which messages the first prompt of an attempt contains; a repeat returns what was remembered first.
    fn remember_told(&self, attempt: Attempt, told: &[EffectId]) -> RunFilesResult<Vec<EffectId>>;
}
