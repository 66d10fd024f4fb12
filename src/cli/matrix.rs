//! The Matrix room.

use crate::domain::ids::ProjectName;
use clap::{Args, Subcommand};

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
