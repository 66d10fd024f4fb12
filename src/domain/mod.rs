//! What rig decides, and only that: no I/O, no clock, no chance, no async. Facts go in, orders come out.

pub mod chat;
pub mod ci;
pub mod code;
pub mod crontab;
pub mod gate;
pub mod guard;
pub mod ids;
pub mod issue;
pub mod known;
pub mod marker;
pub mod merge_words;
pub mod phase;
pub mod prompts;
pub mod prose;
pub mod pull_request;
pub mod queue;
pub mod redact;
pub mod repository;
pub mod review;
pub mod run;
pub mod usage;
pub mod usage_limit;
