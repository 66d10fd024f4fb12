//! Whether the agent may do what it is about to do: a shell command, judged by what it would run, or a file that it wants to
//! write. `tree` is the command as data; `walk` goes through it and knows folder and variables at each step; the other
//! modules know one family of programs each.
//!
//! Deliberately absent: what a script or an interpreter does once it runs. Nothing can be read from outside there, and
//! docs/security.md says so.

mod archives;
mod definitions;
mod downloads;
mod env;
mod expand;
mod files;
mod forge_api;
mod git;
mod git_checkout;
mod git_config;
mod git_fetch;
mod git_push;
mod git_words;
mod http;
mod machine;
mod options;
mod places;
mod processes;
mod rules;
mod script;
mod shell;
mod starters;
mod tar;
mod tools;
mod transfer;
pub mod tree;
mod unwrap;
mod value;
mod variables;
mod walk;

pub use rules::{Confines, GUARD_VERSION, Policy, Refusal, Surroundings, Verdict};
pub use tools::{ToolUse, judge_tool};
pub use walk::{TEXT_BYTES, judge};
