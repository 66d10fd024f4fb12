//! What rig decides, and only that: no I/O, no clock, no chance, no async. Facts go in, orders come out.

pub mod ci;
pub mod gate;
pub mod ids;
pub mod issue;
pub mod known;
pub mod phase;
pub mod prompts;
pub mod prose;
pub mod pull_request;
pub mod queue;
pub mod redact;
pub mod run;
