//! The integration tests: one binary, one file per story or contract.

#[path = "../support/terminal.rs"]
mod terminal;

mod session;
