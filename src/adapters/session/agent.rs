//! What a kind of agent is to its session: how its program is started, what it is given, how its screen reads, and by what
//! it tells of its turns. One implementation for each kind; tmux and the files of an attempt are the same for all.

use super::launch::LaunchPlace;
use crate::ports::session::{PromptLine, SessionPlan, Signals};
use async_trait::async_trait;
use std::{
    fmt::Debug,
    io,
    path::{Path, PathBuf},
};

/// Variables as an agent is given them.
pub(crate) type Environment = [(String, String)];

/// What one start has, beside its plan.
#[derive(Debug)]
pub struct Start<'a> {
    pub(crate) plan: &'a SessionPlan,
    pub(crate) place: &'a LaunchPlace,
    /// Absolute path of rig itself.
    pub(crate) rig: &'a Path,
    /// Everything that the agent's environment holds.
    pub(crate) environment: &'a Environment,
    /// What the program calls its version, if the kind asks and it says.
    pub(crate) version: Option<String>,
}

#[async_trait]
pub trait Agent: Debug + Send + Sync {
    /// Returns the program, a name or a path.
    fn program(&self) -> &str;
    /// Returns the arguments of one start.
    fn arguments(&self, plan: &SessionPlan, place: &LaunchPlace) -> Vec<String>;
    /// Returns what its environment needs beyond what every agent gets; `given` is what it has so far, and `root` rig's
    /// root, for files of its own. Safe to repeat.
    fn environment(&self, given: &Environment, root: &Path) -> io::Result<Vec<(String, String)>>;
    /// Returns what the program at this path calls its version; `None` when it makes no difference, or nobody knows.
    async fn version(&self, program: &Path, environment: &Environment) -> Option<String>;
    /// Writes the files that only this kind of agent needs.
    fn write_files(&self, start: &Start<'_>) -> io::Result<()>;
    /// Returns by what the agent tells of its turns.
    fn signals(&self) -> Signals;
    /// Returns the line that is typed for the first prompt; `None` when the prompt is among the arguments.
    fn first_line(&self, prompt_file: PathBuf) -> Option<String>;
    /// Judges from a screen whether a line can be typed.
    fn prompt_line(&self, screen: &str) -> PromptLine;
    /// Returns what to do about a start that stands still with this screen, if it is a known one.
    fn known_start(&self, screen: &str) -> Option<&'static str>;
}
