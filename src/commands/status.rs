//! rig status (being written)
use super::{CommandResult, Context};
pub fn run(_: &Context, _: crate::cli::StatusArgs) -> CommandResult {
    Err(crate::output::Failure::internal("being written"))
}
