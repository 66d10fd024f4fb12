//! The dev loop.

use crate::domain::ids::{IssueNumber, ProjectName, PullRequestNumber, RunId};
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum Dev {
    /// Look at each project once: merge what is ready, go on with open runs, start the next issue (for cron)
    #[command(after_help = "Examples:\n  rig dev poll\n  rig dev poll widget gadget\n  \
        */10 * * * * RIG_ROOT=$HOME/rig $HOME/.cargo/bin/rig dev poll")]
    Poll(PollArgs),
    /// Work on one issue, in the foreground, until it is merged or needs a person
    #[command(after_help = "Examples:\n  rig dev agent 123\n  rig dev agent 123 --project widget")]
    Agent(AgentArgs),
    /// Run the CI of this machine for pull requests that no run leads (ticks start it by themselves)
    #[command(
        after_help = "Examples:\n  rig dev check\n  rig dev check 45 --project widget     anew, whatever is known of it"
    )]
    Check(CheckArgs),
    /// Switch the dev loop on
    #[command(after_help = "Examples:\n  rig dev start\n  rig dev start --root ~/rig")]
    Start,
    /// Switch the dev loop off; sessions that run go on
    #[command(after_help = "Examples:\n  rig dev stop\n  rig dev stop --root ~/rig")]
    Stop,
}

#[derive(Debug, Clone, Args)]
pub struct PollArgs {
    /// Projects to look at [default: all]
    pub projects: Vec<ProjectName>,
}

#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Pull request to check anew [default: all that wait for a check]
    pub number: Option<PullRequestNumber>,
    /// Project that it belongs to [default: the only one there is]
    #[arg(long)]
    pub project: Option<ProjectName>,
    /// Leave without a word when another process is at it (given by `rig dev poll`)
    #[arg(long, hide = true)]
    pub waiting: bool,
}

#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    /// Number of the issue
    pub issue: IssueNumber,
    /// Project that the issue belongs to [default: the only one there is]
    #[arg(long)]
    pub project: Option<ProjectName>,
    /// Go on with this run only (given by `rig dev poll`)
    #[arg(long, hide = true)]
    pub run: Option<RunId>,
}
