//! Setting rig up, and trying it.

use crate::domain::ids::ProjectName;
use clap::{Args, Subcommand, ValueEnum};
use std::net::SocketAddr;

#[derive(Debug, Subcommand)]
pub enum CronCommand {
    /// Write or renew this root's lines; all other lines stay as they are
    #[command(
        after_help = "Examples:\n  rig cron install --dry-run      see what would be written\n  rig cron install\n  \
        rig cron install --root ~/rig"
    )]
    Install {
        /// Print the lines and what else is needed, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print this root's lines as they stand in the crontab
    #[command(after_help = "Examples:\n  rig cron show\n  rig cron show --json")]
    Show,
    /// Take this root's lines away
    #[command(after_help = "Examples:\n  rig cron remove\n  rig cron remove --root ~/rig")]
    Remove,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting of a project with its value and its source
    #[command(after_help = "Examples:\n  rig config show\n  rig config show --project widget --json")]
    Show {
        /// Only this project
        #[arg(long)]
        project: Option<ProjectName>,
    },
    /// Check every project file without acting
    #[command(after_help = "Examples:\n  rig config check\n  rig config check --json")]
    Check,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoAgent {
    /// A scripted agent that behaves like claude at the terminal
    StandIn,
    /// The real claude CLI
    Claude,
}

#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Which agent does the work
    #[arg(long, value_enum, default_value = "stand-in")]
    pub agent: DemoAgent,
    /// Keep the root, the forge's data and the sessions, and say how to look at them
    #[arg(long)]
    pub keep: bool,
    /// How many of the three issues to work through
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub issues: u8,
}

#[derive(Debug, Subcommand)]
pub enum ForgeCommand {
    /// Serve the embedded forge, kept under the root; what is missing of the root is made
    #[command(after_help = "Examples:\n  rig forge serve\n  \
        rig forge serve --root ~/rig --repository acme/widget --user dev-bot --user review-bot\n  \
        rig forge serve --new-token dev-bot          in place of a lost one")]
    Serve(ForgeServeArgs),
}

#[derive(Debug, Clone, Args)]
pub struct ForgeServeArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:3300")]
    pub listen: SocketAddr,
    /// Create this repository (owner/name) if it is missing; may be repeated
    #[arg(long, value_name = "OWNER/NAME")]
    pub repository: Vec<String>,
    /// Create this user with a new token if it is missing; the token is printed once. It may write to every
    /// --repository; may be repeated
    #[arg(long, value_name = "NAME")]
    pub user: Vec<String>,
    /// Print a new token of this user in place of the one before; may be repeated
    #[arg(long, value_name = "NAME")]
    pub new_token: Vec<String>,
}
