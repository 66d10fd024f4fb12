//! `rig forge serve`: the embedded forge, kept under the root, until it is interrupted.

use super::{CommandResult, Context, runtime};
use crate::{
    cli::{ForgeCommand, ForgeServeArgs},
    config::root::Root,
    embedded_forge::{ForgeServerError, Options, Running, start},
    output::{Exit, Failure, Printer},
};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub fn run(context: &Context, command: ForgeCommand) -> CommandResult {
    match command {
        ForgeCommand::Serve(args) => runtime()?.block_on(serve(context, args)),
    }
}

async fn serve(context: &Context, args: ForgeServeArgs) -> CommandResult {
    let repositories = args.repository.iter().map(|name| split(name)).collect::<Result<Vec<_>, _>>()?;
    // Before anything is said, so that an interrupt that answers it is not missed.
    let (mut interrupt, mut terminate) = (listen_for(SignalKind::interrupt())?, listen_for(SignalKind::terminate())?);
    let folder = root(context)?.forge_dir();
    let options = Options { folder: folder.clone(), listen: args.listen, root_url: None, faults: false };
    let forge = start(options).await.map_err(failure)?;
    let printer = &context.printer;
    printer.line(forge.url());
    printer.json(&json!({ "url": forge.url(), "folder": folder }));
    if let Some(token) = forge.new_admin_token() {
        announce(printer, "forge-admin", token);
    }
    provision(printer, &forge, &args, &repositories).await.map_err(failure)?;
    printer.talk("serving until interrupted");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    forge.stop().await;
    Ok(Exit::Ok)
}

async fn provision(
    printer: &Printer,
    forge: &Running,
    args: &ForgeServeArgs,
    repositories: &[(&str, &str)],
) -> Result<(), ForgeServerError> {
    for name in &args.user {
        if let Some(token) = forge.new_user(name).await? {
            announce(printer, name, &token);
        }
    }
    for (owner, name) in repositories {
        let created = forge.ensure_repository(owner, name).await?;
        for user in &args.user {
            forge.ensure_collaborator(owner, name, user, "write").await?;
        }
        let url = format!("{}/{owner}/{name}.git", forge.url());
        printer.line(format!("repository {owner}/{name}  {url}"));
        printer.json(&json!({ "repository": format!("{owner}/{name}"), "clone_url": url, "created": created }));
    }
    Ok(())
}

/// Prints a token, which is shown this once.
fn announce(printer: &Printer, user: &str, token: &str) {
    printer.line(format!("user {user}  token {token}  (shown once)"));
    printer.json(&json!({ "user": user, "token": token }));
}

fn split(name: &str) -> Result<(&str, &str), Failure> {
    name.split_once('/')
        .filter(|(owner, name)| !owner.is_empty() && !name.is_empty() && !name.contains('/'))
        .ok_or_else(|| Failure::user(format!("`{name}` is no repository")).hint("write it as OWNER/NAME"))
}

fn listen_for(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::internal(format!("signals cannot be listened for: {error}")))
}

fn failure(error: ForgeServerError) -> Failure {
    let hint = match &error {
        ForgeServerError::PortTaken(_) => "choose another with --listen 127.0.0.1:PORT; port 0 takes a free one",
        ForgeServerError::InUse(_) => "only one can serve a folder: use the one that runs, or another --root",
        ForgeServerError::File { .. } | ForgeServerError::Database { .. } => "check the folder's permissions and space",
        ForgeServerError::Listen { .. } | ForgeServerError::Refused(_) => "",
    };
    Failure::user(error).hint(hint)
}

/// Returns the root: the one given, else the nearest folder upwards that has `projects` and `state`.
fn root(context: &Context) -> Result<Root, Failure> {
    if let Some(folder) = &context.global.root {
        let folder = std::path::absolute(folder).map_err(|error| Failure::user(format!("--root: {error}")))?;
        return Ok(Root::at(folder));
    }
    let here = std::env::current_dir().map_err(|error| Failure::user(format!("the current folder: {error}")))?;
    here.ancestors()
        .find(|folder| folder.join("projects").is_dir() && folder.join("state").is_dir())
        .map(Root::at)
        .ok_or_else(|| Failure::user("no root was found").hint("give one with --root or RIG_ROOT"))
}
