//! Recovery from end to end: the real program as cron and people call it, real git over HTTP, real tmux, the embedded forge,
//! and a scripted agent. Whatever is killed, lost, or done by somebody else meanwhile, the same end is reached.

pub(crate) mod agent;
mod checks;
pub(crate) mod world;

mod adoption;
mod clocks;
mod faults;
mod held;
mod killed;
mod machine;
mod people;
mod sessions;
mod silent;
mod starts;
mod turns;
mod writers;

/// How long a test waits for something before it fails: far more than it takes on a busy machine.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(120);
