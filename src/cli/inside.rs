//! What rig has its own helpers call: hooks of the agent, tmux, git.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
pub struct HookArgs {
    /// Name of the hook event, such as Stop, or `pre-tool-use`
    pub event: String,
    /// What the session is confined to, for `pre-tool-use`
    pub guard: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct SessionExecArgs {
    /// The attempt's folder
    pub attempt_dir: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct CredentialArgs {
    /// The attempt's folder, whose file `push-token` names the remote and holds the token
    pub attempt_dir: PathBuf,
    /// get, store or erase
    pub operation: String,
}

#[derive(Debug, Clone, Args)]
pub struct StandInArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}
