//! Looking at runs, and a word in their course.

use crate::domain::ids::{IssueNumber, ProjectName};
use clap::Args;

#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Only this project
    #[arg(long)]
    pub project: Option<ProjectName>,
    /// Ended runs too
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Clone, Args)]
pub struct AttachArgs {
    /// Number of the issue
    pub issue: IssueNumber,
    /// Project that the issue belongs to [default: the only one that has a run of it]
    #[arg(long)]
    pub project: Option<ProjectName>,
    /// Let keys through to the agent
    #[arg(long)]
    pub write: bool,
}

#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// Number of the issue
    pub issue: IssueNumber,
    /// Project that the issue belongs to [default: the only one that has a run of it]
    #[arg(long)]
    pub project: Option<ProjectName>,
    /// Go on with what comes, until the run ends
    #[arg(long, short)]
    pub follow: bool,
    /// Only what happened, from the journal (with other parts: these too)
    #[arg(long)]
    pub events: bool,
    /// Only what the driver wrote
    #[arg(long)]
    pub driver: bool,
    /// Only the logs of CI on this machine
    #[arg(long)]
    pub ci: bool,
    /// Only the session's screen, live or as it was kept last
    #[arg(long)]
    pub pane: bool,
}

#[derive(Debug, Clone, Args)]
pub struct SendArgs {
    /// Number of the issue
    pub issue: IssueNumber,
    /// What to say, up to 64 KiB; `-` reads it from standard input
    pub text: String,
    /// Project that the issue belongs to [default: the only one that has a run of it]
    #[arg(long)]
    pub project: Option<ProjectName>,
    /// Name of this message: within a run one with the same name is sent once
    #[arg(long)]
    pub key: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct StopArgs {
    /// Number of the issue
    pub issue: IssueNumber,
    /// Project that the issue belongs to [default: the only one that has a run of it]
    #[arg(long)]
    pub project: Option<ProjectName>,
    /// Why, for people
    #[arg(long, default_value = "")]
    pub reason: String,
}

#[derive(Debug, Clone, Args)]
pub struct RetryArgs {
    /// Number of the issue
    pub issue: IssueNumber,
    /// Project that the issue belongs to [default: the only one that has a run of it]
    #[arg(long)]
    pub project: Option<ProjectName>,
    /// Begin a new attempt with a new conversation, even if the agent works
    #[arg(long)]
    pub fresh: bool,
}

#[derive(Debug, Clone, Args)]
pub struct UsageArgs {
    /// Only this issue
    #[arg(long)]
    pub issue: Option<IssueNumber>,
    /// Only the last days, today included, such as 7d
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub since: Option<u32>,
    /// Only this project
    #[arg(long)]
    pub project: Option<ProjectName>,
}

/// Reads a number of days: `7d`, `7` or `2w`.
fn days(text: &str) -> Result<u32, String> {
    let (number, factor) = match text.strip_suffix('w') {
        Some(weeks) => (weeks, 7),
        None => (text.strip_suffix('d').unwrap_or(text), 1),
    };
    let days = number.parse::<u32>().ok().and_then(|number| number.checked_mul(factor));
    days.filter(|days| (1..=36_500).contains(days))
        .ok_or_else(|| "a number of days such as 7d, or of weeks such as 2w".into())
}

#[derive(Debug, Clone, Args)]
pub struct WhyArgs {
    /// Number of an issue or pull request [default: the project as a whole]
    pub number: Option<IssueNumber>,
    /// Only this project [default: all]
    #[arg(long, env = "RIG_PROJECT", hide_env_values = true)]
    pub project: Option<ProjectName>,
}
