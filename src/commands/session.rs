//! Commands that the agent, tmux and git call; nobody else needs them.

use super::{CommandResult, Context};
use crate::{
    adapters::session::{claude, credential, guard, hooks, launch, stand_in},
    cli,
    output::{Exit, Failure},
};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use std::path::Path;

/// `rig hook EVENT`: records a lifecycle event. It never stands in the agent's way: whatever goes wrong is told on stderr,
/// and the exit code stays 0, because another one would be shown to the agent or stop it.
pub fn hook(context: &Context, args: cli::HookArgs) -> CommandResult {
    if args.event == guard::EVENT {
        return pre_tool_use(context, args.guard.as_deref());
    }
    if !claude::all_events().any(|event| event == args.event) {
        let known = claude::all_events().collect::<Vec<_>>().join(", ");
        return Err(Failure::new(Exit::Usage, format!("`{}` is no lifecycle event; known are {known}", args.event)));
    }
    let payload = hooks::read_payload(std::io::stdin().lock());
    match hooks::Reporter::from_env() {
        Some(reporter) => {
            if let Err(error) = reporter.append(&args.event, &payload, Timestamp::now()) {
                context.printer.talk(format!("rig hook: {}: {error}", reporter.file.display()));
            }
        }
        None => {
            context.printer.talk("rig hook: RIG_HOOKS_FILE, RIG_RUN and RIG_ATTEMPT are not set: nothing is recorded")
        }
    }
    context.printer.raw(hooks::reminder(&args.event, &payload));
    Ok(Exit::Ok)
}

/// `rig hook pre-tool-use FILE`: refuses what the agent may not do, with the reason on stdout; silence lets it pass. Here
/// every failure refuses, by the exit code that the agent's program takes for a refusal.
fn pre_tool_use(context: &Context, file: Option<&Path>) -> CommandResult {
    let printer = context.printer;
    std::thread::spawn(move || {
        std::thread::sleep(guard::PATIENCE);
        printer.talk("rig's guard did not come to an end, so it refuses this; try something simpler");
        std::process::exit(Exit::Usage as i32);
    });
    let Some(file) = file else {
        return Err(Failure::new(Exit::Usage, "`rig hook pre-tool-use` needs the file of the session's guard"));
    };
    if let Some(reason) = guard::refusal(file, std::io::stdin().lock()) {
        printer
            .data(&guard::answer(&reason))
            .map_err(|error| Failure::new(Exit::Usage, format!("{reason} ({error})")))?;
    }
    Ok(Exit::Ok)
}

/// `rig session-exec DIR`: becomes the agent of the attempt.
pub fn exec(_: &Context, args: cli::SessionExecArgs) -> CommandResult {
    Err(Failure::outside(launch::exec(&args.attempt_dir)).context("the agent cannot be started"))
}

/// `rig credential DIR OPERATION`: answers git, or stays silent so that git goes on without a password.
pub fn credential(context: &Context, args: cli::CredentialArgs) -> CommandResult {
    let answer = credential::answer(&args.attempt_dir, &args.operation, std::io::stdin().lock()).map_err(|error| {
        Failure::internal(format!("the push token in {} cannot be read: {error}", args.attempt_dir.display()))
    })?;
    if let Some(answer) = answer {
        context.printer.raw(answer.expose_secret());
    }
    Ok(Exit::Ok)
}

/// `rig stand-in ...`: the scripted agent.
pub fn stand_in(context: &Context, args: cli::StandInArgs) -> CommandResult {
    let last_words = super::runtime()?.block_on(stand_in::run(args.args)).map_err(Failure::user)?;
    context.printer.raw(&last_words.unwrap_or_default());
    Ok(Exit::Ok)
}
