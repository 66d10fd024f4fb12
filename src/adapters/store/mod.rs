//! The store behind `ports::store`: SQLite, one file beside its lock. Deliberately absent: what events mean; bodies are opaque.

pub mod sqlite;

mod chat;
mod checks;
mod codec;
mod connection;
mod decisions;
mod drivers;
mod error;
mod inputs;
mod journal;
mod mirrors;
mod notices;
mod outbox;
mod runs;
mod told;
mod write_lock;
