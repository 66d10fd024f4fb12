//! Recovery from end to end: the real program as cron and people call it, real git over HTTP, real tmux, the embedded forge,
//! and a scripted agent. Whatever is killed, lost, or done by somebody else meanwhile, the same end is reached.

mod agent;
mod checks;
mod world;

mod faults;
mod killed;
mod people;
mod sessions;
mod silent;

/// How long a test waits for something before it fails: far more than it takes on a busy machine.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(120);
