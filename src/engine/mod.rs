//! Connects the pure core with the outside: one single-writer loop per run, and the tick that starts them.
//! Decides nothing that the domain could decide, and acts only through ports.

pub mod claim;
pub mod comments;
pub mod commit;
pub mod deliver;
pub mod dispatch;
pub mod driver;
pub mod gate;
pub mod launch;
pub mod merge;
mod merge_scan;
pub mod notices;
pub mod observe;
pub mod resume;
pub mod session;
pub mod snapshot;
pub mod survey;
pub mod tick;
pub mod world;

pub use world::World;
