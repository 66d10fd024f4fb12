//! One outside thing each, behind a port.

pub mod ci;
pub mod flock;
pub mod forge;
pub mod git;
pub mod machine;
pub mod mirror;
pub mod phase_watch;
pub mod process;
pub mod process_identity;
pub mod run_files;
pub mod session;
pub mod store;
pub mod system_clock;
