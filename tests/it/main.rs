//! The integration tests: one binary, one file per story or contract.

mod gate;
mod queue;
