//! A tool that the agent is about to use, as its hook tells: shell commands and files.

use super::{
    places::Places,
    rules::{Confines, Refusal, Surroundings, Verdict},
    shell::Folders,
    value::Value,
    walk,
};
use std::path::Path;

/// Tools that only look at the files that they name.
const LOOKING: [&str; 5] = ["Read", "Glob", "Grep", "LS", "NotebookRead"];
/// Tools that put the agent into another worktree.
const LEAVING: [&str; 2] = ["EnterWorktree", "ExitWorktree"];

/// What of a tool's input matters here; all that is not there is none.
#[derive(Debug, Clone)]
pub struct ToolUse<'a> {
    pub tool: &'a str,
    pub folder: &'a Path,
    pub command: Option<&'a str>,
    /// The files that it writes or looks at.
    pub files: Vec<&'a str>,
    pub isolation: Option<&'a str>,
}

/// Judges the use of a tool. One that is not known and names a command or a file is judged as if it ran or wrote it.
pub fn judge_tool(tool: &ToolUse<'_>, confines: &Confines, around: &dyn Surroundings) -> Verdict {
    if LEAVING.contains(&tool.tool) || tool.isolation == Some("worktree") {
        return Verdict::Deny(Refusal::new(
            "worktrees belong to rig, which keeps one for each run",
            "Work in this one.",
        ));
    }
    if let Some(command) = tool.command {
        let verdict = walk::judge(command, tool.folder, confines, around);
        if !verdict.is_allowed() {
            return verdict;
        }
    }
    if LOOKING.contains(&tool.tool) {
        return Verdict::Allow;
    }
    let folders = Folders::Any(vec![around.real_path(tool.folder, true)]);
    let places = Places::new(confines, around, &folders);
    tool.files.iter().try_for_each(|file| places.write(&Value::literal(*file), tool.tool)).into()
}
