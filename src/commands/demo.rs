//! rig demo (being written)
use super::{CommandResult, Context};
pub fn run(_: &Context, _: crate::cli::DemoArgs) -> CommandResult {
    Err(crate::output::Failure::internal("being written"))
}
