//! Connects the pure core with the outside: one single-writer loop per run, and the tick that starts them.
//! Decides nothing that the domain could decide, and acts only through ports.

pub mod approve;
mod audit;
pub mod bridge;
pub mod checks;
mod ci;
pub mod claim;
pub mod comments;
pub mod commit;
pub mod deliver;
pub mod dispatch;
pub mod driver;
pub mod gate;
pub mod hopeless;
mod landing;
pub mod launch;
pub mod merge;
mod merge_scan;
pub mod mirrors;
pub mod notices;
pub mod observe;
mod outgoing;
mod prune;
pub mod pump;
mod rebase;
pub mod resume;
pub mod retry;
mod screen_watch;
pub mod session;
mod set_up;
pub mod snapshot;
pub mod survey;
pub mod tick;
mod tidy;
pub mod why;
pub mod world;

pub use world::World;
