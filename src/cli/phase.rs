//! The phase file.

use crate::domain::{
    ids::{IssueNumber, ProjectName},
    phase::Phase,
};
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum PhaseCommand {
    /// Print the path of the phase file
    #[command(after_help = "Examples:\n  rig phase path 123\n  rig phase path            inside a session")]
    Path(PhaseTarget),
    /// Print the phase that the file holds
    #[command(after_help = "Examples:\n  rig phase get 123\n  rig phase get 123 --json")]
    Get(PhaseTarget),
    /// Write a phase
    #[command(after_help = "Examples:\n  rig phase set awaiting_ci                            inside a session\n  \
        rig phase set escalate --reason 'which port?' --issue 123")]
    Set(PhaseSetArgs),
    /// Print each phase as it is written, until interrupted
    #[command(after_help = "Examples:\n  rig phase watch 123\n  rig phase watch 123 --json | jq .phase")]
    Watch(PhaseTarget),
    /// Print what happened to an issue's run
    #[command(after_help = "Examples:\n  rig phase log 123\n  rig phase log 123 --json")]
    Log(PhaseTarget),
    /// Run the phase protocol through on this machine and say what works
    #[command(
        after_help = "Examples:\n  rig phase test            a real tmux session, a scripted agent, a few seconds"
    )]
    Test,
}

#[derive(Debug, Clone, Args)]
pub struct PhaseTarget {
    /// Number of the issue [default: that of the session this runs in]
    #[arg(env = "RIG_ISSUE", hide_env_values = true)]
    pub issue: Option<IssueNumber>,
    /// Project that the issue belongs to [default: the only one there is]
    #[arg(long, env = "RIG_PROJECT", hide_env_values = true)]
    pub project: Option<ProjectName>,
}

#[derive(Debug, Clone, Args)]
pub struct PhaseSetArgs {
    /// awaiting_ci, awaiting_review, escalate, done or failed
    pub phase: Phase,
    /// Why, for people
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Number of the issue [default: that of the session this runs in]
    #[arg(long, env = "RIG_ISSUE", hide_env_values = true)]
    pub issue: Option<IssueNumber>,
    /// Project that the issue belongs to [default: the only one there is]
    #[arg(long, env = "RIG_PROJECT", hide_env_values = true)]
    pub project: Option<ProjectName>,
}
