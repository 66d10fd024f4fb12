//! rig phase (being written)
use super::{CommandResult, Context};
pub fn run(_: &Context, _: crate::cli::PhaseCommand) -> CommandResult {
    Err(crate::output::Failure::internal("being written"))
}
