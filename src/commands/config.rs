//! rig config (being written)
use super::{CommandResult, Context};
pub fn run(_: &Context, _: crate::cli::ConfigCommand) -> CommandResult {
    Err(crate::output::Failure::internal("being written"))
}
