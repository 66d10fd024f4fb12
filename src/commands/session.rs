//! Commands that the agent, tmux and git call (being written)
use super::{CommandResult, Context};
pub fn hook(_: &Context, _: crate::cli::HookArgs) -> CommandResult {
    Err(crate::output::Failure::internal("being written"))
}
pub fn exec(_: &Context, _: crate::cli::SessionExecArgs) -> CommandResult {
    Err(crate::output::Failure::internal("being written"))
}
pub fn credential(_: &Context, _: crate::cli::CredentialArgs) -> CommandResult {
    Err(crate::output::Failure::internal("being written"))
}
pub fn stand_in(_: &Context, _: crate::cli::StandInArgs) -> CommandResult {
    Err(crate::output::Failure::internal("being written"))
}
