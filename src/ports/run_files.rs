//! The port to a run's folder: what the agent and its hooks leave there, what rig leaves there for the agent, and a hint
//! when something has changed. The hint makes rig fast; reading the files makes it right.

use super::session::HooksRead;
use crate::domain::{
    ids::{Attempt, EffectId},
    phase::PhaseText,
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::path::PathBuf;

/// One writing of the phase file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseSighting {
    /// Inode, modification time in ns, size and a hash of the text: another writing has another one.
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
    /// Returns when something in the run's folder may have changed or is to be looked at again, or after a while.
    async fn changed(&self);
    /// Returns the writings of the phase file that are still to be seen, oldest first. One that may be half a writing is
    /// left out until it has stayed for a short while; `changed` returns then.
    fn phases(&self, attempt: Attempt) -> RunFilesResult<Vec<PhaseSighting>>;
    /// Returns whether the phase file holds nothing that `phases` still leaves out. While it does, nothing is concluded
    /// from the end of a turn or of the session: the phase that explains it is about to be seen.
    fn is_settled(&self, attempt: Attempt) -> bool;
    /// Returns the run's hooks behind a byte offset, oldest first, and where to go on. The end of a turn, and what comes
    /// after it, is left for a later reading while its attempt's phase file is not settled.
    fn hooks(&self, from: u64) -> RunFilesResult<HooksRead>;
    /// Returns when the attempt's transcript was last written, its subagents' included; `None` when the agent has told of
    /// none. Reads the file of the hooks, so it is asked only when nothing else shows that the agent lives.
    fn transcript_written(&self, attempt: Attempt) -> Option<Timestamp>;
    /// Returns what the agent wrote about its work; empty when nothing.
    fn summary(&self, attempt: Attempt) -> String;
    /// Returns the notes of earlier attempts; empty when there are none.
    fn scratch(&self) -> String;
    /// Adds to the log of setting up the worktree, which is kept within bounds.
    fn note_set_up(&self, text: &str) -> RunFilesResult<()>;
    /// Writes a message for the agent. Returns the file's path. Safe to repeat.
    fn put_message(&self, id: &EffectId, text: &str) -> RunFilesResult<PathBuf>;
    /// Writes down that a message is being typed into an attempt's session at a time. Safe to repeat: the newest stays.
    fn note_typed(&self, id: &EffectId, attempt: Attempt, at: Timestamp) -> RunFilesResult<()>;
    /// Returns when a message was last typed into this attempt's session; `None` when it was not.
    fn typed_at(&self, id: &EffectId, attempt: Attempt) -> Option<Timestamp>;
    /// Keeps what an attempt's screen showed last, for people. Safe to repeat: the newest stays.
    fn put_screen(&self, attempt: Attempt, text: &str) -> RunFilesResult<()>;
    /// Remembers which messages the first prompt of an attempt contains; a repeat returns what was remembered first.
    fn remember_told(&self, attempt: Attempt, told: &[EffectId]) -> RunFilesResult<Vec<EffectId>>;
}
