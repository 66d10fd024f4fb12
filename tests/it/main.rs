//! The integration tests: one binary, one file per story or contract.

#[path = "../support/git_world.rs"]
mod git_world;

mod workspace;
