//! What the engine needs from the outside, as small traits with typed errors. Adapters implement them.

pub mod ci;
pub mod clock;
pub mod forge;
pub mod launch;
pub mod lock;
pub mod run_files;
pub mod session;
pub mod store;
pub mod workspace;
