//! One outside thing each, behind a port.

pub mod bridge;
pub mod ci;
pub mod ci_breaks;
pub mod crontab;
pub mod flock;
pub mod forge;
pub mod git;
pub mod machine;
#[cfg(feature = "matrix")]
pub mod matrix;
pub mod mirror;
pub mod notify;
pub mod phase_watch;
pub mod process;
pub mod process_identity;
pub mod run_files;
pub mod session;
pub mod shell_parse;
pub mod store;
pub mod system_clock;
pub mod transcripts;
