//! The integration tests: one binary, one file per story or contract.

#[path = "../support/git_world.rs"]
mod git_world;
#[path = "../support/status_board.rs"]
mod status_board;

mod local_ci;
mod workspace;
