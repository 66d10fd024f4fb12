//! What the engine needs from the outside, as small traits with typed errors. Adapters implement them.

pub mod allowance;
pub mod chat;
pub mod ci;
pub mod ci_breaks;
pub mod clock;
pub mod crontab;
pub mod forge;
pub mod launch;
pub mod lock;
pub mod outbox;
pub mod run_files;
pub mod session;
pub mod store;
pub mod usage;
pub mod workspace;
