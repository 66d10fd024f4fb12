//! Where the verdict on a commit comes from: the forge's commit statuses, a Woodpecker server, a command that rig runs itself, or
//! nowhere.

mod contexts_file;
mod forge_status;
mod local;
mod log_text;
mod none;
mod woodpecker;

pub use forge_status::{ForgeStatusCi, ForgeStatusPlan};
pub use local::{LocalCi, LocalCiPlan};
pub use none::NoCi;
pub use woodpecker::{WoodpeckerCi, WoodpeckerPlan};
