//! Terminal sessions on tmux with one coding agent in each.
//!
//! `tmux` drives sessions from outside; `launch` writes what an attempt needs and turns the process that tmux started into
//! the agent; `claude` knows one agent's command line, settings and screen; `hooks` carries the agent's lifecycle events to
//! a file and back; `credential` answers git inside the session; `stand_in` is a scripted agent with claude's surface.
//! Deliberately absent: what a session means for its run.

pub mod claude;
pub mod credential;
pub(crate) mod files;
pub mod hooks;
pub mod launch;
mod processes;
pub mod stand_in;
pub mod tmux;

pub use claude::ClaudeAgent;
pub use tmux::{TmuxPlace, TmuxSessions};
