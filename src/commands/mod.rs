//! One file per subcommand: arguments -> engine or query -> Printer. Owns nothing else.

pub mod approve;
pub mod attach;
pub mod check;
pub mod config;
pub mod cron;
pub mod demo;
pub mod dev;
pub mod forge;
pub mod gate;
mod handle;
mod last_tick;
pub mod logs;
pub mod matrix;
pub mod mirror;
pub mod phase;
pub mod retry;
pub mod send;
pub mod session;
pub mod status;
pub mod stop;
pub mod switch;
pub mod usage;
pub mod why;
pub mod wire;
mod words;

use crate::{
    cli::{Cli, Command, Dev},
    config::{LoadError, ProjectProblem, Root, RootError},
    output::{Exit, Failure, Printer},
};
use tokio::signal::unix::{SignalKind, signal};

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
        Command::Dev(Dev::Check(args)) => check::run(&context, &args),
        Command::Dev(Dev::Start) => switch::start(&context),
        Command::Dev(Dev::Stop) => switch::stop(&context),
        Command::Phase(command) => phase::run(&context, command),
        Command::Status(args) => status::run(&context, args),
        Command::Attach(args) => attach::run(&context, args),
        Command::Logs(args) => logs::run(&context, args),
        Command::Send(args) => send::run(&context, args),
        Command::Stop(args) => stop::run(&context, args),
        Command::Retry(args) => retry::run(&context, args),
        Command::Usage(args) => usage::run(&context, args),
        Command::Why(args) => why::run(&context, args),
        Command::Cron(command) => cron::run(&context, command),
        Command::Approve(args) => approve::run(&context, args),
        Command::Gate(args) => gate::run(&context, args),
        Command::Mirror(command) => mirror::run(&context, command),
        Command::Config(command) => config::run(&context, command),
        Command::Demo(args) => demo::run(&context, args),
        Command::Forge(command) => forge::run(&context, command),
        Command::Matrix(command) => matrix::run(&context, command),
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

impl Context {
    /// Returns the root that the command works in.
    pub fn root(&self) -> Result<Root, Failure> {
        Root::find(self.global.root.clone()).map_err(root_failure)
    }
}

/// Returns what a root that cannot be used is to people.
pub fn root_failure(error: RootError) -> Failure {
    Failure::user(&error).hint(error.hint())
}

/// Returns what a project that cannot be had is to people.
pub fn load_failure(error: LoadError) -> Failure {
    Failure::user(&error).hint(error.hint())
}

/// Tells a person at the terminal what is wrong with project files.
pub fn tell_problems(printer: &Printer, problems: &[ProjectProblem]) {
    for problem in problems.iter().flat_map(|problem| &problem.problems) {
        printer.talk(format!("{} {problem}", printer.paint(33, "warning:")));
        if !problem.hint.is_empty() {
            printer.talk(format!("  hint: {}", problem.hint));
        }
    }
}

/// Returns a small runtime for commands that wait for the outside; the others never start one.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("the async runtime cannot be started: {error}")))?;
    // A file that may not grow then is an error of the write, which is told, and no death in the middle of something.
    let inside = runtime.enter();
    let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    drop(inside);
    Ok(runtime)
}
