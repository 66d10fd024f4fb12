//! Which issue is worked on next.

pub mod dependencies;
