//! The gate, and the mirrors of what passes it.

use crate::domain::ids::{InvalidId, IssueNumber, ProjectName};
use clap::{Args, Subcommand};

/// Reads a number that issues and pull requests share, as all other numbers are read.
fn issue_or_pull_request(text: &str) -> Result<u64, InvalidId> {
    text.parse().map(|IssueNumber(number)| number)
}

#[derive(Debug, Clone, Args)]
pub struct ApproveArgs {
    /// Number of the issue, or of its pull request
    #[arg(value_parser = issue_or_pull_request)]
    pub number: u64,
    /// The commit that is meant, or its beginning [default: the one that people were asked about]
    #[arg(long, value_name = "SHA")]
    pub head: Option<String>,
    /// Project that it belongs to [default: the only one that has it]
    #[arg(long)]
    pub project: Option<ProjectName>,
}

#[derive(Debug, Clone, Args)]
pub struct GateArgs {
    /// Number of the pull request, or of the issue that it is for
    #[arg(value_parser = issue_or_pull_request)]
    pub number: u64,
    /// Project that it belongs to [default: the only one there is]
    #[arg(long)]
    pub project: Option<ProjectName>,
}

#[derive(Debug, Subcommand)]
pub enum MirrorCommand {
    /// Show how far each mirror is, as last seen
    #[command(after_help = "Examples:\n  rig mirror status\n  rig mirror status --project widget --json")]
    Status(MirrorStatusArgs),
    /// Push the primary branch and the tags to the mirrors now; never forced
    #[command(after_help = "Examples:\n  rig mirror push\n  rig mirror push backup --project widget")]
    Push(MirrorPushArgs),
}

#[derive(Debug, Clone, Args)]
pub struct MirrorStatusArgs {
    /// Project whose mirrors are meant [default: the only one there is]
    #[arg(long)]
    pub project: Option<ProjectName>,
}

#[derive(Debug, Clone, Args)]
pub struct MirrorPushArgs {
    /// Name of a mirror, as in the project's file [default: all]
    pub name: Option<String>,
    /// Push to those that are behind, without a word about what ticks tell (given by `rig dev poll`)
    #[arg(long, hide = true)]
    pub behind: bool,
    /// Project whose mirrors are meant [default: the only one there is]
    #[arg(long)]
    pub project: Option<ProjectName>,
}
