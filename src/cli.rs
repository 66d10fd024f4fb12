//! The command line: clap types only. What the commands do is in `commands`.

use crate::domain::{
    ids::{InvalidId, IssueNumber, ProjectName, PullRequestNumber, RunId},
    phase::Phase,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{net::SocketAddr, path::PathBuf};

/// Turns issues into merged pull requests, with people in control.
#[derive(Debug, Parser)]
#[command(name = "rig", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Examples:\n  rig demo                     see the whole thing work, on this machine, in half a minute\n  \
    rig dev start                switch the dev loop on\n  rig dev poll                 one tick, as cron runs it\n  \
    rig dev agent 123            work on issue 123 now\n  rig status                   what rig is doing\n\n\
    Exit codes: 0 ok or nothing to do, 1 input or configuration, 2 usage, 3 an outside service failed,\n\
    75 another process holds the lock, 70 a fault of rig itself."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Folder with projects/ and state/ [default: the nearest one upwards that has both, else $XDG_DATA_HOME/rig]
    #[arg(long, global = true, env = "RIG_ROOT", hide_env_values = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Print JSON, one document a line, on stdout
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The dev loop: issues become merged pull requests
    #[command(subcommand)]
    Dev(Dev),
    /// The phase file of an issue's session, through which an agent tells rig how far it is
    #[command(subcommand)]
    Phase(PhaseCommand),
    /// Show the runs: project, issue, stage, age, what each waits for
    #[command(after_help = "Examples:\n  rig status\n  rig status --project widget --all\n  rig status --json")]
    Status(StatusArgs),
    /// Show an issue's session in this terminal; to look at, unless --write
    #[command(after_help = "Examples:\n  rig attach 123            Ctrl-b d leaves, the session goes on\n  \
        rig attach 123 --write    messages to the agent wait meanwhile")]
    Attach(AttachArgs),
    /// Show what happened in an issue's newest run, what its driver wrote, what CI said, and its session's screen
    #[command(after_help = "Examples:\n  rig logs 123\n  rig logs 123 --follow\n  rig logs 123 --pane\n  \
        rig logs 123 --events --json | jq .entry.kind")]
    Logs(LogsArgs),
    /// Send a message to an issue's agent; it is delivered in order, once, when the agent is idle
    #[command(after_help = "Examples:\n  rig send 123 'use port 8080'\n  cat notes.md | rig send 123 -\n  \
        rig send 123 --key decision-7 'blue'     once, however often it is repeated")]
    Send(SendArgs),
    /// Stop the work on an issue: its session ends, what only the worktree has is kept, the issue goes back to the queue
    #[command(after_help = "Examples:\n  rig stop 123\n  rig stop 123 --reason 'the plan has changed'")]
    Stop(StopArgs),
    /// Try an issue again: one that is blocked or was given back, or one that waits for people
    #[command(
        after_help = "Examples:\n  rig retry 123\n  rig retry 123 --fresh     a new attempt, even of a run that works"
    )]
    Retry(RetryArgs),
    /// Show what the agents' models have used: turns, messages and tokens by issue, day and model
    #[command(after_help = "Examples:\n  rig usage\n  rig usage --since 7d\n  rig usage --issue 123 --json")]
    Usage(UsageArgs),
    /// Say in words why rig does or does not do something with an issue or pull request, or what a project waits for
    #[command(after_help = "Examples:\n  rig why                     what each project waits for\n  \
        rig why 123                 what was decided about issue or pull request 123, and what would change it\n  \
        rig why 123 --project widget --json\n\nThe codes are explained in docs/reason-codes.md.")]
    Why(WhyArgs),
    /// The lines of the user's crontab that call `rig dev poll` for this root
    #[command(subcommand)]
    Cron(CronCommand),
    /// Show whether a pull request may be merged: every condition, with what was seen
    #[command(
        after_help = "Examples:\n  rig gate 45            a pull request\n  rig gate 12            the pull request of an issue\n  \
        rig gate 12 --json"
    )]
    Gate(GateArgs),
    /// Accept a change of what the gate rests on, which waits for a person; on the forge it is no review
    #[command(after_help = "Examples:\n  rig approve 12                    what people were asked about\n  \
        rig approve 12 --head 1f2e3d4c5b  only if it is this commit")]
    Approve(ApproveArgs),
    /// Mirrors: repositories that get everything that is merged
    #[command(subcommand)]
    Mirror(MirrorCommand),
    /// Show the configuration and where each value comes from
    #[command(subcommand)]
    Config(ConfigCommand),
    /// See the main job work from end to end, in a temporary root with the embedded forge
    #[command(
        after_help = "Examples:\n  rig demo\n  rig demo --issues 1\n  rig demo --keep          then look around\n  \
        rig demo --agent claude  with the real agent"
    )]
    Demo(DemoArgs),
    /// The embedded forge
    #[command(subcommand)]
    Forge(ForgeCommand),
    /// The Matrix room in which people are told of runs, and answer
    #[command(subcommand)]
    Matrix(MatrixCommand),
    /// Take a lifecycle event of the agent on stdin (called by the agent's hooks)
    #[command(hide = true)]
    Hook(HookArgs),
    /// Start the agent of an attempt in this terminal (called by tmux)
    #[command(hide = true)]
    SessionExec(SessionExecArgs),
    /// Answer git's question for a password (called by git)
    #[command(hide = true)]
    Credential(CredentialArgs),
    /// A scripted agent with claude's command-line surface
    #[command(hide = true, disable_help_flag = true, disable_version_flag = true)]
    StandIn(StandInArgs),
}

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

#[derive(Debug, Subcommand)]
pub enum MatrixCommand {
    /// Log in once, by password; the token and the keys are kept below state/matrix
    #[command(
        after_help = "Examples:\n  rig matrix login                          asks for the password, or reads it from stdin\n  \
        rig matrix login --new-device             when the old one was lost"
    )]
    Login(MatrixLoginArgs),
    /// Show how the account stands: who it is, the room, its members, its encryption, what it may send
    #[command(after_help = "Examples:\n  rig matrix check\n  rig matrix check --project widget --json")]
    Check(MatrixProjectArgs),
    /// Be the bridge between runs and their rooms; started by rig itself when there is something to send
    #[command(
        after_help = "Examples:\n  rig matrix run                            until interrupted, as a service does"
    )]
    Run(MatrixRunArgs),
    /// Send a message into the project's room, by the way that all messages go
    #[command(after_help = "Examples:\n  rig matrix send 'hello from rig'\n  rig matrix send --project widget 'hello'")]
    Send(MatrixSendArgs),
}

#[derive(Debug, Clone, Args)]
pub struct MatrixLoginArgs {
    /// Project whose account this is [default: the only one that has a room]
    #[arg(long)]
    pub project: Option<ProjectName>,
    /// Account, such as @rig:example.org [default: `matrix.bot_user` of the project]
    #[arg(long)]
    pub user: Option<String>,
    /// Name under which the device is shown to others
    #[arg(long, default_value = "rig")]
    pub device_name: String,
    /// Log in although a device is logged in, whose keys are then left aside
    #[arg(long)]
    pub new_device: bool,
}

#[derive(Debug, Clone, Args)]
pub struct MatrixProjectArgs {
    /// Project whose room this is about [default: all that have one]
    #[arg(long)]
    pub project: Option<ProjectName>,
}

#[derive(Debug, Clone, Args)]
pub struct MatrixRunArgs {
    /// End when nothing is to be sent or waited for (given by rig itself)
    #[arg(long, hide = true)]
    pub while_needed: bool,
}

#[derive(Debug, Clone, Args)]
pub struct MatrixSendArgs {
    /// Project whose room the message is for [default: the only one that has a room]
    #[arg(long)]
    pub project: Option<ProjectName>,
    /// The message
    pub text: String,
}

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
