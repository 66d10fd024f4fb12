//! The command line: clap types only. What the commands do is in `commands`.

use crate::domain::{
    ids::{IssueNumber, ProjectName, RunId},
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

#[derive(Debug, Clone, Args)]
pub struct HookArgs {
    /// Name of the hook event, such as Stop
    pub event: String,
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
