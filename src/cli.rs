//! The command line: clap types only. What the commands do is in `commands`.

mod accept;
mod dev;
mod inside;
mod matrix;
mod phase;
mod runs;
mod setup;

pub use self::{
    accept::{ApproveArgs, GateArgs, MirrorCommand, MirrorPushArgs, MirrorStatusArgs},
    dev::{AgentArgs, CheckArgs, Dev, PollArgs},
    inside::{CredentialArgs, HookArgs, SessionExecArgs, StandInArgs},
    matrix::{MatrixCommand, MatrixLoginArgs, MatrixProjectArgs, MatrixRunArgs, MatrixSendArgs},
    phase::{PhaseCommand, PhaseSetArgs, PhaseTarget},
    runs::{AttachArgs, LogsArgs, RetryArgs, SendArgs, StatusArgs, StopArgs, UsageArgs, WhyArgs},
    setup::{ConfigCommand, CronCommand, DemoAgent, DemoArgs, ForgeCommand, ForgeServeArgs},
};

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

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
