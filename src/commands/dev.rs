//! rig dev (being written)
use super::{CommandResult, Context};
pub fn poll(_: &Context, _: crate::cli::PollArgs) -> CommandResult {
    Err(crate::output::Failure::internal("being written"))
}
pub fn agent(_: &Context, _: crate::cli::AgentArgs) -> CommandResult {
    Err(crate::output::Failure::internal("being written"))
}
