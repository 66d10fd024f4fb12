//! rig forge (being written)
use super::{CommandResult, Context};
pub fn run(_: &Context, _: crate::cli::ForgeCommand) -> CommandResult {
    Err(crate::output::Failure::internal("being written"))
}
