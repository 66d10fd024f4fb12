//! Terminal sessions on tmux with one coding agent in each.
//!
//! `tmux` drives sessions from outside; `launch` writes what an attempt needs and turns the process that tmux started into
//! the agent; `agent` is what a kind of agent is to its session, `claude` and `command` the kinds; `setup` makes a fresh
//! worktree runnable; `hooks` carries the agent's lifecycle events to
//! a file and back; `last_write` tells when an agent last wrote to its transcript; `credential` answers git inside the session; `stand_in` is a scripted agent with claude's surface.
//! Deliberately absent: what a session means for its run.

mod agent;
pub mod claude;
pub mod command;
pub mod credential;
pub(crate) mod files;
pub mod guard;
pub mod hooks;
pub(crate) mod last_write;
pub mod launch;
pub(crate) mod processes;
mod prompt;
mod setup;
pub mod stand_in;
pub mod tmux;

pub use agent::Agent;
pub use claude::ClaudeAgent;
pub use command::CommandAgent;
pub use tmux::{TmuxPlace, TmuxSessions};
