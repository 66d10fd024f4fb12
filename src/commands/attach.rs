//! `rig attach`: shows an issue's session in this terminal. This process becomes tmux.

use super::{CommandResult, Context, handle::Handle, runtime, wire};
use crate::{
    cli::AttachArgs,
    domain::run::Session,
    output::{Exit, Failure},
    ports::session::{Liveness, Sessions},
};

pub fn run(context: &Context, args: AttachArgs) -> CommandResult {
    let issue = args.issue;
    let (sessions, name) = runtime()?.block_on(async {
        let handle = Handle::find(context, issue, args.project.as_ref()).await?;
        let sessions = wire::any_sessions(&handle.root);
        let alive = sessions.liveness(&handle.session(), &handle.run.run, handle.run.attempt).await;
        match alive.map_err(|error| Failure::outside(error).hint("is tmux installed, and its socket yours?"))? {
            Liveness::Alive => Ok((sessions, handle.session())),
            Liveness::Gone | Liveness::Other => Err(no_session(&handle).await?),
        }
    })?;
    if !context.printer.is_at_terminal() {
        return Err(Failure::user("rig attach shows a session at a terminal, and this is none")
            .hint(format!("`rig logs {} --pane` prints what the session shows", issue.0)));
    }
    if args.write {
        context
            .printer
            .talk("while you write, messages to the agent wait: until you detach (Ctrl-b d), or for ten idle minutes");
    }
    Err(Failure::outside(sessions.attach(&name, args.write)).context("the session cannot be shown"))
}

/// Says why there is nothing to attach to, and what there is instead.
async fn no_session(handle: &Handle) -> Result<Failure, Failure> {
    let run = &handle.run;
    let (number, stage) = (run.issue.0, run.stage.as_str());
    let logs = format!("`rig logs {number}` shows what happened");
    if !run.open {
        let how = format!("issue {} has no session: its run has ended ({stage})", run.issue);
        return Ok(Failure::new(Exit::User, how).hint(format!("{logs}; `rig retry {number}` begins another run")));
    }
    let attempt = match super::handle::last_attempt(run) {
        Some(attempt) => format!("the last attempt was {attempt}"),
        None => "there was no attempt yet".to_owned(),
    };
    let why = match handle.folded().await?.session {
        Session::Absent => "it has none in this stage",
        Session::Starting => "it is being started",
        Session::Started => "it is gone, and its driver has not begun another",
    };
    let text =
        format!("issue {} has no session: {why} (stage {stage}, waits for {}; {attempt})", run.issue, run.waits_for);
    Ok(Failure::user(text).hint(format!("{logs}; `rig send {number} TEXT` brings the agent back with a message")))
}
