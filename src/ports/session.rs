//! The session port: terminal sessions with one coding agent in each. Starting, looking, typing one line, ending.
//! What a session means for its run is decided elsewhere.

use crate::domain::{
    guard::Policy,
    ids::{Attempt, IssueNumber, ProjectName, RunId},
};
use async_trait::async_trait;
use secrecy::SecretString;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Which session: `dev-<project>-<issue>` on rig's own tmux socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionName {
    pub project: ProjectName,
    pub issue: IssueNumber,
}

impl SessionName {
    /// Returns the name as tmux knows it: `dev-PROJECT-ISSUE`.
    pub fn for_tmux(&self) -> String {
        format!("dev-{}-{}", self.project, self.issue.0)
    }
}

/// Everything that one start of an agent needs.
#[derive(Debug, Clone)]
pub struct SessionPlan {
    pub name: SessionName,
    pub run: RunId,
    pub attempt: Attempt,
    /// The worktree, and the session's working folder.
    pub worktree: PathBuf,
    /// The attempt's folder: `phase`, `summary`, `prompt.md`, `env`, `settings.json` lie in it.
    pub attempt_dir: PathBuf,
    /// The run's own file of hooks.
    pub hooks_file: PathBuf,
    pub prompt: String,
    /// UUID of the agent's own session.
    pub agent_session: String,
    /// Continue the agent's own session of that id instead of starting it.
    pub resume: bool,
    /// Further environment of the agent, beyond what the adapter itself sets (`RIG_*`, `PHASE_FILE`, `SUMMARY_FILE`).
    pub env: Vec<(String, String)>,
    /// Served to `git push` through the credential helper, for `remote_url` only; never in the environment.
    pub push_token: SecretString,
    pub remote_url: String,
    pub guard: GuardPlan,
}

/// What the agent may do, as far as its worktree does not say it.
#[derive(Debug, Clone, Default)]
pub struct GuardPlan {
    /// The run's own branch.
    pub branch: String,
    pub primary_branch: String,
    pub forge_url: String,
    /// Files outside the worktree that it is meant to write, beside phase and summary.
    pub writable: Vec<PathBuf>,
    pub policy: Policy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// A session with this name runs this attempt.
    Alive,
    /// There is no such session, or its agent has ended.
    Gone,
    /// The session of this name belongs to another attempt or run.
    Other,
}

/// Whether a line could be typed now, judged from the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptLine {
    /// The agent's input line is there and empty.
    Empty,
    /// Somebody has typed something.
    HalfTyped,
    /// No line to type into now: a dialog, a start screen, a shell, or a turn that runs.
    Absent,
}

/// By what an agent tells of its turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signals {
    /// Its own hooks tell when it takes a prompt and when it stops.
    Hooks,
    /// Nothing but its screen: a turn has ended when its empty input line shows and nothing has changed for `quiet`.
    Screen { quiet: Duration },
}

/// The command that makes a fresh worktree runnable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetUp {
    /// For `sh -c`.
    pub command: String,
    pub timeout: Duration,
}

/// How setting up ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetUpEnd {
    /// What went wrong, such as `ended with exit code 1`; `None` is success.
    pub problem: Option<String>,
    /// Both of its outputs, in order; the end of them when they are long.
    pub output: String,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum SessionError {
    /// tmux or the agent's program is not installed, or does not run.
    #[error("{message}")]
    Unusable { message: String },
    #[error("session {session}: {message}")]
    Failed { session: String, message: String },
}

pub type SessionResult<T> = Result<T, SessionError>;

#[async_trait]
pub trait Sessions: Send + Sync {
    /// Runs a command in the plan's worktree with the environment that the agent will have. Ends what is left of the
    /// issue's session and of an earlier set-up first. A command that fails is no error of this call.
    async fn set_up(&self, plan: &SessionPlan, set_up: &SetUp) -> SessionResult<SetUpEnd>;
    /// Returns by what the agent tells of its turns.
    fn signals(&self) -> Signals;
    /// Returns the line that brings an attempt's first prompt to an agent that does not get it with its start.
    fn first_line(&self, attempt_dir: &Path) -> Option<String>;
    /// Returns what a person is to do about a start that stands still with this screen, where that is known.
    fn known_start(&self, screen: &str) -> Option<&'static str>;
    /// Starts the session. One of the same attempt that lives already is success; one of another attempt is ended first.
    async fn start(&self, plan: &SessionPlan) -> SessionResult<()>;
    /// Returns whether the session lives. An error means unknown, never gone.
    async fn liveness(&self, name: &SessionName, run: &RunId, attempt: Attempt) -> SessionResult<Liveness>;
    /// Returns the visible screen and up to `history` lines before it, without colours.
    async fn screen(&self, name: &SessionName, history: u32) -> SessionResult<String>;
    /// Judges from a screen whether a line can be typed.
    fn prompt_line(&self, screen: &str) -> PromptLine;
    /// Pastes one line (no control characters) in brackets and submits it. What becomes of it is told by the hooks.
    async fn type_line(&self, name: &SessionName, line: &str) -> SessionResult<()>;
    /// Returns for how long the person has been idle who is attached to the session and may type; the least of several.
    /// `None` when nobody is.
    async fn writer_idle(&self, name: &SessionName) -> SessionResult<Option<Duration>>;
    /// Ends the session and every process in it. No such session is success.
    async fn end(&self, name: &SessionName) -> SessionResult<()>;
}

/// A lifecycle event that the agent's own hook reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookEvent {
    pub attempt: Attempt,
    pub kind: HookKind,
    /// Byte offset in the hooks file behind this event's line.
    pub offset: u64,
}

/// What one reading of the hooks file came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HooksRead {
    /// The run's events, oldest first.
    pub events: Vec<HookEvent>,
    /// Byte offset to read from next, whether or not there was an event before it.
    pub next: u64,
    /// One reading is bounded, and there is more behind `next`.
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookKind {
    SessionStarted {
        source: String,
    },
    /// The agent took a prompt; the text as it took it.
    PromptTaken {
        prompt: String,
    },
    /// The agent stopped at the end of a turn.
    TurnEnded {
        last_message: String,
        background_tasks: u32,
    },
    /// The agent gave up on a turn because of an error of its API.
    TurnFailed {
        error: String,
        /// What the program said of it, in its own words.
        message: String,
    },
    SessionEnded {
        reason: String,
    },
    /// The guard refused the use of a tool.
    ToolRefused {
        /// The command or the file.
        what: String,
        why: String,
    },
    /// Something happened that only shows that the agent lives.
    Alive,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A plan whose worktree is here; nothing else of it matters.
    pub(crate) fn plan(worktree: &str) -> SessionPlan {
        SessionPlan {
            name: SessionName { project: "widget".parse().unwrap(), issue: IssueNumber(7) },
            run: RunId::new("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap(),
            attempt: Attempt(1),
            worktree: worktree.into(),
            attempt_dir: "/a".into(),
            hooks_file: "/r/hooks".into(),
            prompt: "Fix it".into(),
            agent_session: "00000000-0000-4000-8000-000000000001".into(),
            resume: false,
            env: Vec::new(),
            push_token: SecretString::from("made-up"),
            remote_url: "http://127.0.0.1:1/acme/widget.git".into(),
            guard: GuardPlan::default(),
        }
    }
}
