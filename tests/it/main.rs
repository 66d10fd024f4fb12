//! The integration tests: one binary, one file per story or contract.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

#[path = "../support/terminal.rs"]
mod terminal;

mod phase;
mod session;
