//! What a session is confined to, what a project's policy adds, and what an answer looks like.

use super::tree::{Node, Unreadable};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Version of the confines as they are written down for a session.
pub const GUARD_VERSION: u32 = 1;

/// The project's `[guard]` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub enabled: bool,
    /// Commands that are not judged, each as its first words.
    pub allow_commands: Vec<String>,
    /// Commands that are refused, each as its first words.
    pub deny_commands: Vec<String>,
    /// Folders that the agent may write in as in its worktree.
    pub allow_paths: Vec<PathBuf>,
    pub allow_sudo: bool,
    pub allow_packages: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            enabled: true,
            allow_commands: Vec::new(),
            deny_commands: Vec::new(),
            allow_paths: Vec::new(),
            allow_sudo: false,
            allow_packages: false,
        }
    }
}

/// What one session is confined to. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confines {
    pub version: u32,
    pub worktree: PathBuf,
    /// The run's own branch.
    pub branch: String,
    pub primary_branch: String,
    /// Base URL of the forge.
    pub forge_url: String,
    /// rig's own root.
    pub root: PathBuf,
    /// rig itself.
    pub rig: PathBuf,
    /// Name of rig's own tmux socket.
    pub tmux_socket: String,
    /// Files of rig that the agent is meant to write: phase, summary, notes.
    pub writable: Vec<PathBuf>,
    pub policy: Policy,
}

/// Why something is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is refused and why, and what to do instead, in sentences for the agent.
    pub reason: String,
}

impl Refusal {
    pub(super) fn new(why: impl AsRef<str>, instead: &str) -> Self {
        Self { reason: format!("{}. {instead}", why.as_ref()).trim_end().to_owned() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Deny(Refusal),
}

impl Verdict {
    pub fn is_allowed(&self) -> bool {
        *self == Self::Allow
    }
}

impl From<Result<(), Refusal>> for Verdict {
    fn from(result: Result<(), Refusal>) -> Self {
        result.map_or_else(Self::Deny, |()| Self::Allow)
    }
}

/// What the judge asks of the outside. Everything here only looks, and answers the same to the same question.
pub trait Surroundings {
    /// Reads shell text.
    fn parse(&self, text: &str) -> Result<Node, Unreadable>;
    /// Returns an absolute path without links and dots; what does not exist is kept as it is. The last component is
    /// followed only when asked to.
    fn real_path(&self, path: &Path, follow_last: bool) -> PathBuf;
    fn exists(&self, path: &Path) -> bool;
    /// Returns the branch that a folder's checkout is on.
    fn current_branch(&self, folder: &Path) -> Option<String>;
    /// Returns whether the repository of a folder has a branch or a tag of that name.
    fn has_branch(&self, folder: &Path, name: &str) -> bool;
    /// Returns whether two names of hosts are known here to mean the same machine, without asking any other.
    fn same_host(&self, one: &str, other: &str) -> bool;
    /// Returns whether a process belongs to this session.
    fn is_own_process(&self, id: u32) -> bool;
    /// Returns the environment of the shell that will run the command.
    fn variables(&self) -> &BTreeMap<String, String>;
}
