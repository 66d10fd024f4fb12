//! One file per subcommand: arguments -> engine or query -> Printer. Owns nothing else.

pub mod config;
pub mod demo;
pub mod dev;
pub mod forge;
pub mod phase;
pub mod session;
pub mod status;

use crate::{
    cli::{Cli, Command, Dev},
    output::{Exit, Failure, Printer},
};

pub type CommandResult = Result<Exit, Failure>;

/// What every command gets besides its arguments.
#[derive(Debug, Clone)]
pub struct Context {
    pub global: crate::cli::Global,
    pub printer: Printer,
}

/// Runs the command that was given. Returns the exit code.
pub fn run(cli: Cli) -> Exit {
    let context = Context { printer: Printer::new(cli.global.json), global: cli.global };
    let result = match cli.command {
        Command::Dev(Dev::Poll(args)) => dev::poll(&context, args),
        Command::Dev(Dev::Agent(args)) => dev::agent(&context, args),
        Command::Dev(Dev::Start) => dev::start(&context),
        Command::Dev(Dev::Stop) => dev::stop(&context),
        Command::Phase(command) => phase::run(&context, command),
        Command::Status(args) => status::run(&context, args),
        Command::Config(command) => config::run(&context, command),
        Command::Demo(args) => demo::run(&context, args),
        Command::Forge(command) => forge::run(&context, command),
        Command::Hook(args) => session::hook(&context, args),
        Command::SessionExec(args) => session::exec(&context, args),
        Command::Credential(args) => session::credential(&context, args),
        Command::StandIn(args) => session::stand_in(&context, args),
    };
    result.unwrap_or_else(|failure| {
        context.printer.failure(&failure);
        failure.exit
    })
}

/// Returns a small runtime for commands that wait for the outside; the others never start one.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("the async runtime cannot be started: {error}")))
}
